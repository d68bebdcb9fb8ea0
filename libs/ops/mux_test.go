package ops_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tickfan/tickfan/libs/ops"
)

func newMux(t *testing.T) *ops.Mux {
	t.Helper()
	m, err := ops.New("edge")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return m
}

func get(m *ops.Mux, method, path string) (status int, body string) {
	rec := httptest.NewRecorder()
	m.Handler().ServeHTTP(rec, httptest.NewRequest(method, path, nil))
	return rec.Code, strings.TrimSpace(rec.Body.String())
}

func TestReadiness(t *testing.T) {
	m := newMux(t)
	expect := func(status int, body string) {
		t.Helper()
		if s, b := get(m, "GET", "/readyz"); s != status || b != body {
			t.Errorf("/readyz: %d %s, want %d %s", s, b, status, body)
		}
		if m.Ready() != (status == 200) {
			t.Errorf("Ready() = %v", m.Ready())
		}
		ready := regexp.MustCompile(`(?m)^tickfan_ready\{.*\} ([01])$`)
		if _, b := get(m, "GET", "/metrics"); !slices.Equal(ready.FindStringSubmatch(b)[1:], []string{map[bool]string{true: "1", false: "0"}[status == 200]}) {
			t.Errorf("/readyz says %d, the gauge %q", status, ready.FindString(b))
		}
	}
	expect(503, `{"ready":false,"unmet":[{"condition":"service","reason":"starting"}]}`)

	nats, view := m.Condition("edge.nats"), m.Condition("edge.view")
	expect(503, `{"ready":false,"unmet":[{"condition":"edge.nats","reason":"starting"},{"condition":"edge.view","reason":"starting"}]}`)

	nats.Set(errors.New("not reachable")) // says all that is known
	router := m.Condition("router")
	expect(503, `{"ready":false,"unmet":[{"condition":"edge.nats","reason":"not reachable"},{"condition":"router","reason":"starting"}]}`)
	router.Set(nil)

	nats.Set(nil)
	view.Set(errors.New("reading 3 of 20 symbols"))
	expect(503, `{"ready":false,"unmet":[{"condition":"edge.view","reason":"reading 3 of 20 symbols"}]}`)

	view.Set(nil)
	expect(200, `{"ready":true}`)

	nats.Set(errors.New("cut"))
	nats.Lost(errors.New("cut"))
	expect(503, `{"ready":false,"unmet":[{"condition":"edge.nats","reason":"cut"}]}`)
	nats.Set(nil)

	view.Met("of 20 symbols")
	expect(200, `{"ready":true,"met":[{"condition":"edge.view","how":"of 20 symbols"}]}`)
	view.Set(nil)

	m.Stopping(errors.New("terminated"))
	m.Stopping(errors.New("again"))
	expect(503, `{"ready":false,"unmet":[{"condition":"running","reason":"stopping: terminated"}]}`)
}

func TestNilConditionIsMet(t *testing.T) {
	var c *ops.Condition
	c.Set(errors.New("x"))
	if err := c.Err(); err != nil {
		t.Error(err)
	}
}

func TestPaths(t *testing.T) {
	m := newMux(t)
	if s, b := get(m, "GET", "/healthz"); s != 200 || b != "ok" {
		t.Errorf("/healthz: %d %s", s, b)
	}
	if s, b := get(m, "GET", "/metrics"); s != 200 || !strings.Contains(b, "go_goroutines") {
		t.Errorf("/metrics: %d %s", s, b)
	}
	for _, c := range []struct {
		method, path string
		status       int
		code         string
	}{
		{"GET", "/", 404, "not_found"},
		{"GET", "/healthz/x", 404, "not_found"},
		{"POST", "/readyz", 405, "method_not_allowed"},
		{"GET", "/debug/pprof/", 404, "not_found"},
		{"GET", "/debug/pprof/heap", 404, "not_found"},
	} {
		s, b := get(m, c.method, c.path)
		var body struct {
			Error struct{ Code, Message string }
		}
		if err := json.Unmarshal([]byte(b), &body); err != nil || s != c.status || body.Error.Code != c.code || body.Error.Message == "" {
			t.Errorf("%s %s: %d %s (%v)", c.method, c.path, s, b, err)
		}
	}
	m.EnablePprof()
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/cmdline"} {
		if s, _ := get(m, "GET", path); s != 200 {
			t.Errorf("%s: %d", path, s)
		}
	}
}

func TestServeAndCheck(t *testing.T) {
	m := newMux(t)
	ln, err := ops.Listen("--ops", ":0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- m.Serve(ctx, ln) }()

	_, port, _ := net.SplitHostPort(ln.Addr().String())
	if err := ops.Check(t.Context(), ":"+port); err == nil || err.Error() != "not ready: service: starting" {
		t.Errorf("not ready: %v", err)
	}
	m.Condition("nats").Set(nil)
	for _, addr := range []string{":" + port, "0.0.0.0:" + port, "[::]:" + port, "localhost:" + port} {
		if err := ops.Check(t.Context(), addr); err != nil {
			t.Errorf("%s: %v", addr, err)
		}
	}
	cancel()
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if err := ops.Check(t.Context(), ":"+port); err == nil {
		t.Error("ready after the end")
	}
	for _, addr := range []string{":0", "9090"} {
		if err := ops.Check(t.Context(), addr); err == nil {
			t.Errorf("Check(%q): no error", addr)
		}
	}
}

// A request under way, such as a profile, holds the shutdown up only so long.
func TestServeEndsWithRequestUnderWay(t *testing.T) {
	m := newMux(t)
	m.EnablePprof()
	ln, err := ops.Listen("--ops", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served, asked := make(chan error, 1), make(chan error, 1)
	go func() { served <- m.Serve(ctx, ln) }()

	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+ln.Addr().String()+"/debug/pprof/trace?seconds=60", nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	go func() {
		resp, err := transport.RoundTrip(req)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
		asked <- err
	}()
	if err := ops.Check(t.Context(), ln.Addr().String()); err == nil {
		t.Error("ready")
	}
	cancel()
	select {
	case err := <-served:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("still serving")
	}
	<-asked
}
