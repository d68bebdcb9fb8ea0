package ops

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"golang.org/x/sync/errgroup"

	"github.com/tickfan/tickfan/libs/telemetry"
)

// errStarting is the reason of a condition that nobody has set yet.
var errStarting = errors.New("starting")

// Mux answers on the ops port. Its methods may be called from any goroutine.
type Mux struct {
	telemetry *telemetry.Telemetry
	pprof     atomic.Bool

	mu         sync.Mutex
	conditions []*Condition
	stopping   error // why it is not ready for good, nil while it runs
}

// New returns the mux of a service, with no conditions and so not ready. Its metrics
// have the labels. The caller closes it.
func New(service string, labels ...attribute.KeyValue) (*Mux, error) {
	t, err := telemetry.New(service, labels...)
	if err != nil {
		return nil, fmt.Errorf("make telemetry of %s: %w", service, err)
	}
	m := &Mux{telemetry: t}
	if _, err := t.Meter("tickfan/ops").Int64ObservableGauge("tickfan.ready", metric.WithDescription("1 when the process is ready, as /readyz says it, else 0."),
		metric.WithInt64Callback(m.observeReady)); err != nil {
		return nil, fmt.Errorf("make gauge of readiness: %w", err)
	}
	return m, nil
}

func (m *Mux) observeReady(_ context.Context, o metric.Int64Observer) error {
	if m.Ready() {
		o.Observe(1)
	} else {
		o.Observe(0)
	}
	return nil
}

// Meter returns the meter of that name, whose instruments /metrics serves. Begin the
// name with the service's name: it is what tells the services of one process apart.
func (m *Mux) Meter(name string) metric.Meter { return m.telemetry.Meter(name) }

// Tracer returns the tracer of a service, nil when nobody collects traces; see [telemetry.Telemetry.Tracer].
func (m *Mux) Tracer(ctx context.Context, service string) (*telemetry.Tracer, error) {
	return m.telemetry.Tracer(ctx, service)
}

// EnablePprof makes the mux serve /debug/pprof/.
func (m *Mux) EnablePprof() { m.pprof.Store(true) }

// Condition adds something that the service waits for, unmet ("starting") until it is
// set. Each call adds one: services that share a mux have a condition each even under
// the same name, so begin the name with the service's name.
func (m *Mux) Condition(name string) *Condition {
	c := &Condition{name: name, reason: errStarting}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.conditions = append(m.conditions, c)
	return c
}

// Stopping makes the service not ready for good, whatever its conditions say. It is the
// first step of a shutdown: load balancers look elsewhere while connections drain. The
// first reason stays.
func (m *Mux) Stopping(reason error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopping == nil {
		m.stopping = reason
	}
}

// Ready says whether every condition is met. Without a condition it is false, for
// nothing has been shown to work yet.
func (m *Mux) Ready() bool { return m.readiness().Ready }

// Handler serves GET /healthz, /readyz, /metrics and, when enabled, /debug/pprof/.
// All else is answered with JSON: {"error":{"code","message"}}.
func (m *Mux) Handler() http.Handler {
	routes := http.NewServeMux()
	routes.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintln(w, "ok")
	})
	routes.HandleFunc("GET /readyz", m.serveReady)
	routes.Handle("GET /metrics", m.telemetry.Handler())
	for path, handler := range map[string]http.HandlerFunc{
		"":        pprof.Index, // serves the named profiles below it, too
		"cmdline": pprof.Cmdline,
		"profile": pprof.Profile,
		"symbol":  pprof.Symbol,
		"trace":   pprof.Trace,
	} {
		routes.HandleFunc("/debug/pprof/"+path, m.gatePprof(handler))
	}
	routes.HandleFunc("/", serveUnknown)
	return routes
}

// Serve answers on ln, which it closes, until ctx ends; then it gives requests under way
// two seconds and returns nil. The listener comes from [Listen], so that a taken port is
// found before the service starts.
func (m *Mux) Serve(ctx context.Context, ln net.Listener) error {
	srv := &http.Server{
		Handler:           m.Handler(),
		ReadHeaderTimeout: 5 * time.Second, // no WriteTimeout: a CPU profile takes as long as asked
		IdleTimeout:       time.Minute,
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve ops on %s: %w", ln.Addr(), err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if srv.Shutdown(grace) != nil {
			// A profile may run longer than anyone wants to wait at a shutdown.
			_ = srv.Close()
		}
		return nil
	})
	return g.Wait()
}

// Close ends the metrics. Call it after Serve has returned.
func (m *Mux) Close(ctx context.Context) error { return m.telemetry.Close(ctx) }

// readiness is the body of /readyz.
type readiness struct {
	Ready bool    `json:"ready"`
	Unmet []unmet `json:"unmet,omitempty"`
	Met   []met   `json:"met,omitempty"` // those of which there is more to say
}

type unmet struct {
	Condition string `json:"condition"`
	Reason    string `json:"reason"`
	For       string `json:"for,omitempty"` // since when what was there is not; up to Grace it is no reason to be not ready
}

type met struct {
	Condition string `json:"condition"`
	How       string `json:"how"`
}

func (r readiness) String() string {
	reasons := make([]string, 0, len(r.Unmet))
	for _, u := range r.Unmet {
		s := u.Condition + ": " + u.Reason
		if u.For != "" {
			s += " (for " + u.For + ")"
		}
		reasons = append(reasons, s)
	}
	return strings.Join(reasons, "; ")
}

func (m *Mux) readiness() readiness {
	m.mu.Lock()
	conditions, stopping := slices.Clone(m.conditions), m.stopping
	m.mu.Unlock()

	var r readiness
	if stopping != nil {
		r.Unmet = append(r.Unmet, unmet{Condition: "running", Reason: "stopping: " + stopping.Error()})
	}
	if len(conditions) == 0 {
		r.Unmet = append(r.Unmet, unmet{Condition: "service", Reason: errStarting.Error()})
	}
	r.Ready = len(r.Unmet) == 0
	states := make([]state, len(conditions))
	told := map[string]bool{} // services that say what they wait for: that they are starting is no news then
	for i, c := range conditions {
		s := c.state()
		if s.how != "" {
			r.Met = append(r.Met, met{c.name, s.how})
		}
		if s.reason != nil && s.reason != errStarting {
			told[c.service()] = true
		}
		r.Ready = r.Ready && s.forgiven()
		states[i] = s
	}
	for i, c := range conditions {
		s := states[i]
		if s.reason == nil || s.reason == errStarting && told[c.service()] {
			continue
		}
		u := unmet{Condition: c.name, Reason: s.reason.Error()}
		if s.away > 0 {
			u.For = s.away.Round(time.Second).String()
		}
		r.Unmet = append(r.Unmet, u)
	}
	return r
}

func (m *Mux) serveReady(w http.ResponseWriter, _ *http.Request) {
	r := m.readiness()
	status := http.StatusOK
	if !r.Ready {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, r)
}

func (m *Mux) gatePprof(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !m.pprof.Load() {
			writeError(w, http.StatusNotFound, "not_found", "profiles are off; start the service with --pprof")
			return
		}
		next(w, r)
	}
}

func serveUnknown(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/healthz", "/readyz", "/metrics":
		w.Header().Set("Allow", "GET, HEAD")
		writeError(w, http.StatusMethodNotAllowed, "method_not_allowed", r.Method+" "+r.URL.Path+": only GET is answered")
	default:
		writeError(w, http.StatusNotFound, "not_found", "no such path; there are /healthz, /readyz, /metrics, and /debug/pprof/ with --pprof")
	}
}

func writeError(w http.ResponseWriter, status int, code, message string) {
	type fault struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	writeJSON(w, status, map[string]fault{"error": {code, message}})
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// The status is out; an error here is the client's connection, gone.
	_ = json.NewEncoder(w).Encode(body)
}
