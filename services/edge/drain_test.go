package edge

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/session"
)

// drainable is an edge beside which another one takes clients.
func drainable(t *testing.T, timeout time.Duration) (*region, *running) {
	r := newRegion(t)
	r.set(func() { r.others = 1 })
	return r, startEdge(t, r, func(c *Config) { c.DrainTimeout = timeout })
}

// stopping has the edge stop, and gives what came of it.
func (e *running) stopping() <-chan error {
	done := make(chan error, 1)
	go func() { done <- e.stop() }()
	return done
}

func TestDrain(t *testing.T) {
	r, e := drainable(t, wait)
	r.publish("BTC-USD", 1, "1")
	var clients []*client
	for range 20 {
		c := dial(t, e, session.JSON)
		c.subscribe("BTC-USD")
		c.expect(session.OpTick)
		clients = append(clients, c)
	}
	done := e.stopping()
	natstest.Eventually(t, wait, func() bool {
		draining := false
		r.set(func() {
			for _, h := range r.edges {
				draining = h.Draining
			}
		})
		return draining
	}, "the registry hears that it takes no clients")
	if status, _, body := get(t, e, "GET", "/v1/ws"); status != http.StatusServiceUnavailable && status != http.StatusUpgradeRequired {
		t.Errorf("a new client is told %d %s", status, body)
	}
	// Told or not, all are served.
	r.publish("BTC-USD", 2, "2")
	for _, c := range clients {
		m := c.next()
		for ; m.Op == session.OpReconnect; m = c.next() {
			c.told = true
		}
		if m.Op != session.OpTick || m.Seq != 2 {
			t.Fatalf("got %+v", m)
		}
	}
	for _, c := range clients {
		if !c.told {
			if m := c.expect(session.OpReconnect); m.Reason != "drain" || m.AfterMS < 1 {
				t.Errorf("told %+v", m)
			}
		}
		c.leave()
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if strings.Contains(e.log.String(), "not drained in time") {
		t.Error("it waited for nobody")
	}
}

// Who does not go is closed when the time is over.
func TestDrainTimeout(t *testing.T) {
	_, e := drainable(t, 300*time.Millisecond)
	c := dial(t, e, session.JSON)
	done := e.stopping()
	if m := c.expect(session.OpReconnect); m.Reason != "drain" {
		t.Errorf("told %+v", m)
	}
	if m := c.expect(session.OpReconnect); m.Reason != "shutdown" {
		t.Errorf("told %+v", m)
	}
	if got := c.closeCode(); got != uint16(code.Drain) {
		t.Errorf("closed with %d", got)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// An edge that came just now counts, too.
func TestDrainToNewcomer(t *testing.T) {
	r := newRegion(t)
	e := startEdge(t, r, func(c *Config) { c.DrainTimeout = wait })
	c := dial(t, e, session.JSON)
	r.set(func() { r.others = 1 })
	done := e.stopping()
	if m := c.expect(session.OpReconnect); m.Reason != "drain" {
		t.Errorf("told %+v", m)
	}
	c.leave()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Where nobody else takes clients there is nothing to wait for.
func TestLastEdgeDoesNotDrain(t *testing.T) {
	r := newRegion(t)
	e := startEdge(t, r, func(c *Config) { c.DrainTimeout = time.Hour })
	c := dial(t, e, session.JSON)
	if err := e.stop(); err != nil {
		t.Fatal(err)
	}
	if m := c.expect(session.OpReconnect); m.Reason != "shutdown" {
		t.Errorf("told %+v", m)
	}
}

// The registry can tell an edge to drain; it stops by itself then.
func TestToldToDrain(t *testing.T) {
	r, e := drainable(t, wait)
	c := dial(t, e, session.JSON)
	r.set(func() { r.drain = true })
	if m := c.expect(session.OpReconnect); m.Reason != "drain" {
		t.Errorf("told %+v", m)
	}
	natstest.Eventually(t, wait, func() bool { return strings.Contains(e.readyz(), "draining") }, "not ready any more")
	c.leave()
	select {
	case err := <-e.done:
		e.done <- err
		if err != nil {
			t.Error(err)
		}
	case <-time.After(wait):
		t.Error("it does not stop")
	}
	r.set(func() {
		for _, h := range r.edges {
			if !h.Stopping {
				b, _ := json.Marshal(h)
				t.Errorf("the registry last heard %s", b)
			}
		}
	})
}
