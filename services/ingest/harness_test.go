package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/libs/ops"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/tick"
)

const patience = 40 * time.Second

// running is an ingest in this process.
type running struct {
	mux   *ops.Mux
	ready chan struct{}
	stop  func()
}

func start(t *testing.T, url string, args ...string) *running {
	t.Helper()
	cfg, err := parse(t, append([]string{"--nats", url, "--ops", "127.0.0.1:0"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	mux, err := ops.New("ingest")
	if err != nil {
		t.Fatal(err)
	}
	r := &running{mux: mux, ready: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- Run(ctx, cfg, Deps{Log: slog.New(slog.DiscardHandler), Ops: mux, Ready: func() { close(r.ready) }})
	}()
	r.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			t.Error("Run does not return")
		}
		_ = mux.Close(context.Background())
	})
	t.Cleanup(r.stop)
	return r
}

func (r *running) waitReady(t *testing.T) {
	t.Helper()
	select {
	case <-r.ready:
	case <-time.After(patience):
		t.Fatalf("not ready: %s", r.get("/readyz"))
	}
	if !r.mux.Ready() {
		t.Errorf("said ready, but %s", r.get("/readyz"))
	}
}

func (r *running) get(path string) string {
	w := httptest.NewRecorder()
	r.mux.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Body.String()
}

// metric is the sum of the samples whose line has all of the parts.
func (r *running) metric(name string, parts ...string) (sum float64) {
	for line := range strings.Lines(r.get("/metrics")) {
		if !strings.HasPrefix(line, name) || strings.HasPrefix(line, "#") {
			continue
		}
		all := true
		for _, p := range parts {
			all = all && strings.Contains(line, p)
		}
		var v float64
		if _, err := fmt.Sscan(line[strings.LastIndexByte(line, ' ')+1:], &v); all && err == nil {
			sum += v
		}
	}
	return sum
}

func ask(t *testing.T, nc *nats.Conn, subj, payload string) control.IngestAnswer {
	t.Helper()
	m, err := nc.Request(subj, []byte(payload), patience)
	if err != nil {
		t.Fatalf("%s: %v", subj, err)
	}
	var a control.IngestAnswer
	if err := json.Unmarshal(m.Data, &a); err != nil {
		t.Fatalf("%s: %q: %v", subj, m.Data, err)
	}
	return a
}

func listen(t *testing.T, nc *nats.Conn, subj string) *nats.Subscription {
	t.Helper()
	sub, err := nc.SubscribeSync(subj)
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return sub
}

func next(t *testing.T, sub *nats.Subscription) tick.Tick {
	t.Helper()
	m, err := sub.NextMsg(patience)
	if err != nil {
		t.Fatal(err)
	}
	tk, err := tick.Decode(m.Data)
	if err != nil {
		t.Fatal(err)
	}
	return tk
}

func streams(t *testing.T, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}
