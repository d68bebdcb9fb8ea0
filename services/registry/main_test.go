package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/libs/bus"
	"github.com/tickfan/tickfan/libs/conf"
	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/libs/ops"
	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
)

func TestMain(m *testing.M) { natstest.Main(m) }

const (
	region = subject.Region("local")
	alice  = subject.Edge("alice-aaaaaa")
	bob    = subject.Edge("bob-bbbbbb")
	soon   = 20 * time.Second
)

// quick is a life in which a test can see somebody die. A second is the shortest time to live that NATS knows.
var quick = times{lease: 2 * time.Second, grace: time.Second, look: 20 * time.Millisecond}

// slow is one in which nobody dies while a test runs.
var slow = times{lease: time.Minute, grace: time.Minute, look: 20 * time.Millisecond}

// bench is a region: a server and a client of the registries.
type bench struct {
	t      *testing.T
	server *natstest.Server
	nc     *nats.Conn
	js     jetstream.JetStream
}

func newBench(t *testing.T) *bench {
	t.Helper()
	s := natstest.Start(t)
	nc := s.Connect(t)
	js, err := bus.JetStream(t.Context(), nc)
	if err != nil {
		t.Fatal(err)
	}
	return &bench{t: t, server: s, nc: nc, js: js}
}

// instance is a running registry.
type instance struct {
	mux  *ops.Mux
	stop func() // ends it and waits
}

// start runs a registry and waits until it is ready.
func (b *bench) start(times times) *instance {
	b.t.Helper()
	return b.startAt(b.server.URL(), times)
}

func (b *bench) startAt(url string, times times) *instance {
	b.t.Helper()
	mux, err := ops.New("registry")
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- Run(ctx, Config{
			Common:  conf.Common{NATS: url, Region: string(region)},
			Options: Options{Replicas: 1},
			times:   times,
		}, Deps{Log: slog.New(slog.DiscardHandler), Ops: mux})
	}()
	stopped := false
	i := &instance{mux: mux, stop: func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("run: %v", err)
		}
		if err := mux.Close(context.Background()); err != nil {
			b.t.Error(err)
		}
	}}
	b.t.Cleanup(i.stop)
	natstest.Eventually(b.t, soon, mux.Ready, "the registry is ready")
	return i
}

// scrape says whether /metrics has the line.
func (i *instance) scrape(line string) bool {
	w := httptest.NewRecorder()
	i.mux.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for have := range strings.Lines(w.Body.String()) {
		name, value, _ := strings.Cut(line, " ")
		if strings.HasPrefix(have, name) && strings.HasSuffix(strings.TrimSpace(have), " "+value) {
			return true
		}
	}
	return false
}

// ask requests until there is an answer: one to whom a request is repeated need not be the one who got it first.
func ask[Answer any](b *bench, endpoint string, request any) Answer {
	b.t.Helper()
	return askRaw[Answer](b, endpoint, encode(b.t, request))
}

func encode(t *testing.T, request any) []byte {
	t.Helper()
	payload, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

func askRaw[Answer any](b *bench, endpoint string, payload []byte) (answer Answer) {
	b.t.Helper()
	deadline := time.Now().Add(soon)
	for {
		m, err := b.nc.Request(subject.Registry(region, endpoint), payload, time.Second)
		if err == nil {
			if err := json.Unmarshal(m.Data, &answer); err != nil {
				b.t.Fatalf("%s answered %q: %v", endpoint, m.Data, err)
			}
			return answer
		}
		if !errors.Is(err, nats.ErrNoResponders) && !errors.Is(err, nats.ErrTimeout) || time.Now().After(deadline) {
			b.t.Fatalf("request %s: %v", endpoint, err)
		}
	}
}

// want makes a request of symbols in their parts.
func want(b subject.Bucket, number uint64, set control.Set) *control.InterestRequest {
	r := &control.InterestRequest{Bucket: b, Number: number, Parts: map[int]control.Set{}}
	for s, flag := range set {
		part := subject.Part(s)
		if r.Parts[part] == nil {
			r.Parts[part] = control.Set{}
		}
		r.Parts[part][s] = flag
	}
	return r
}

func (b *bench) change(r *control.InterestRequest) {
	b.t.Helper()
	if a := ask[control.InterestAnswer](b, subject.EndpointInterest, r); a.Error != nil || a.Number != r.Number {
		b.t.Fatalf("change %d of %s: %v, %v", r.Number, r.Bucket, a.Number, a.Error)
	}
}

// beat is a heartbeat that names the parts of the requests as answered for.
func beat(e subject.Edge, connections int, answered ...*control.InterestRequest) *control.Heartbeat {
	h := &control.Heartbeat{Edge: e, Address: string(e) + ":8080", Capacity: 100, Connections: connections}
	for _, r := range answered {
		s := control.BucketSnapshot{Bucket: r.Bucket, Parts: map[int]uint64{}}
		for part := range r.Parts {
			s.Parts[part] = r.Number
		}
		h.Buckets = append(h.Buckets, s)
	}
	return h
}

func (b *bench) heartbeat(h *control.Heartbeat) control.HeartbeatAnswer {
	b.t.Helper()
	a := ask[control.HeartbeatAnswer](b, subject.EndpointHeartbeat, h)
	if a.Error != nil {
		b.t.Fatalf("heartbeat of %s: %v", h.Edge, a.Error)
	}
	return a
}

// keepAlive sends an edge's heartbeats until the returned function is called, whatever is answered.
func (b *bench) keepAlive(h *control.Heartbeat, every time.Duration) (stop func()) {
	payload := encode(b.t, h)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for ctx.Err() == nil {
			_, _ = b.nc.Request(subject.Registry(region, subject.EndpointHeartbeat), payload, 300*time.Millisecond)
			select {
			case <-ctx.Done():
			case <-ticker.C:
			}
		}
	}()
	stop = func() { cancel(); <-done }
	b.t.Cleanup(stop)
	return stop
}

// stored is INTEREST as KV has it.
func (b *bench) stored() map[string]control.PartValue {
	b.t.Helper()
	stored, err := b.read()
	if err != nil {
		b.t.Fatal(err)
	}
	return stored
}

func (b *bench) read() (map[string]control.PartValue, error) {
	kv, err := b.js.KeyValue(b.t.Context(), subject.KVInterest)
	if err != nil {
		return nil, err
	}
	stored := map[string]control.PartValue{}
	keys, err := kv.Keys(b.t.Context())
	if errors.Is(err, jetstream.ErrNoKeysFound) {
		return stored, nil
	}
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		e, err := kv.Get(b.t.Context(), key)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		_, part, ok := subject.ParseInterestKey(key)
		if !ok {
			return nil, fmt.Errorf("key %s", key)
		}
		if stored[key], err = control.DecodePart(part, e.Value()); err != nil {
			return nil, err
		}
	}
	return stored, nil
}

// has says whether KV has exactly the sets of the requests, at their numbers.
func (b *bench) has(requests ...*control.InterestRequest) bool {
	b.t.Helper()
	expected := map[string]control.PartValue{}
	for _, r := range requests {
		for part, set := range r.Parts {
			expected[subject.InterestKey(r.Bucket, part)] = control.PartValue{Number: r.Number, Symbols: set}
		}
	}
	return maps.EqualFunc(b.stored(), expected, func(x, y control.PartValue) bool {
		return x.Number == y.Number && maps.Equal(x.Symbols, y.Symbols)
	})
}

func (b *bench) located(e subject.Edge) bool {
	return ask[control.LocateAnswer](b, subject.EndpointLocate, nil).Edge == e
}

func isCode(err *code.Error, c code.Code) bool { return err != nil && err.Code == c }
