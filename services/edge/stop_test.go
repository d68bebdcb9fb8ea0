package edge

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tickfan/tickfan/libs/conf"
	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/libs/ops"
	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
)

// Whatever else is away, the edge stops: NATS is dead, a subscribe waits for routers, a request was never finished.
func TestStopsWhenAllIsAway(t *testing.T) {
	r := newRegion(t)
	e := startEdge(t, r)
	half := e.dial(0)
	defer half.Close()
	if _, err := io.WriteString(half, "GET / HTTP/1.1\r\nHost:"); err != nil {
		t.Fatal(err)
	}
	c := dial(t, e, session.JSON)
	r.nats.Stop()
	c.send(session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"A", "B"}})
	if err := e.stop(); err != nil {
		t.Fatal(err)
	}
	for m := c.next(); m.Op != session.OpReconnect; m = c.next() {
	}
	_ = half.SetReadDeadline(time.Now().Add(time.Second)) // it has been closed by now
	if _, err := io.ReadAll(half); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("a connection outlives the edge")
	}
}

// An edge that waits for NATS can be told to stop.
func TestStopsBeforeItHasStarted(t *testing.T) {
	s := natstest.Start(t)
	s.Stop()
	mux, err := ops.New("edge")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = mux.Close(context.Background()) }()
	cause := errors.New("told to stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	log := &logBuffer{}
	done := make(chan error, 1)
	cfg := Config{Common: conf.Common{NATS: s.URL(), Region: "local"},
		Options: Options{Listen: freeAddr(t), Name: "edge", Idle: time.Minute}}
	go func() {
		done <- Run(ctx, cfg, Deps{Log: slog.New(slog.NewTextHandler(log, nil)), Ops: mux, Ready: func() {}})
	}()
	natstest.Eventually(t, wait, func() bool { return strings.Contains(log.String(), "NATS not reachable") }, "it does not wait")
	status, head, body := get(t, &running{url: cfg.Listen}, "GET", "/v1/ws")
	if status != http.StatusServiceUnavailable || head.Get("Retry-After") == "" || !strings.Contains(body, `"unavailable"`) {
		t.Errorf("who comes early is told %d %v %s", status, head, body)
	}
	cancel(cause)
	if err := <-done; !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
}

func TestShutdownTellsClients(t *testing.T) {
	r := newRegion(t)
	e := startEdge(t, r)
	c := dial(t, e, session.JSON)
	c.subscribe("BTC-USD")
	if err := e.stop(); err != nil {
		t.Fatal(err)
	}
	if m := c.expect(session.OpReconnect); m.AfterMS < 1 || m.Reason == "" {
		t.Errorf("got %+v", m)
	}
	if got := c.closeCode(); got != uint16(code.Drain) {
		t.Errorf("closed with %d", got)
	}
	r.set(func() {
		for _, h := range r.edges {
			if !h.Stopping {
				t.Errorf("registry was not told: %+v", h)
			}
		}
	})
}

func TestPortTaken(t *testing.T) {
	r := newRegion(t)
	e := startEdge(t, r)
	err := Run(t.Context(), Config{Options: Options{Listen: e.url}}, Deps{Log: slog.New(slog.DiscardHandler), Ops: e.ops})
	if err == nil || !strings.Contains(err.Error(), "--listen") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
}
