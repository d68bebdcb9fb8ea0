package edge

import (
	"strings"
	"testing"
	"time"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/libs/ops"
	"github.com/tickfan/tickfan/proto/session"
)

// An edge that loses NATS is to get no new clients after a while, keeps those that it has, and goes on with them.
func TestWithoutNATS(t *testing.T) {
	t.Parallel() // it takes as long as ops.Grace
	r := newRegion(t)
	r.publish("BTC-USD", 1, "1")
	e := startEdge(t, r)
	c := dialStale(t, e, session.JSON, true)
	c.subscribe("BTC-USD")
	price(t, c.next(), "1")

	r.nats.Stop()
	natstest.Eventually(t, wait, func() bool { return strings.Contains(e.readyz(), "connection to NATS cut") }, "/readyz says why")
	if !e.ops.Ready() {
		t.Errorf("not ready at once: %s", e.readyz())
	}
	natstest.Eventually(t, 2*ops.Grace, func() bool { return !e.ops.Ready() }, "not ready after a while")
	if body := e.readyz(); !strings.Contains(body, `"condition":"edge.nats","reason":"connection to NATS cut: `) {
		t.Errorf("/readyz: %s", body)
	}
	if body := e.ask("/healthz"); body != "ok\n" {
		t.Errorf("/healthz: %s", body)
	}

	r.nats.Restart()
	natstest.Eventually(t, 2*wait, e.ops.Ready, "ready again")
	r.publish("BTC-USD", 2, "2")
	for m := c.next(); m.Op != session.OpTick || m.Seq != 2; m = c.next() {
		if m.Op == session.OpReconnect {
			t.Fatalf("the client was sent away: %+v", m)
		}
	}
}

// A registry that is away is the same for a load balancer.
func TestWithoutRegistry(t *testing.T) {
	t.Parallel()
	r := newRegion(t)
	e := startEdge(t, r)
	r.set(func() { r.mute = true })
	natstest.Eventually(t, wait, func() bool { return strings.Contains(e.readyz(), "send heartbeat") }, "/readyz tells it")
	until := time.Now().Add(ops.Grace + time.Second)
	natstest.Eventually(t, 2*ops.Grace, func() bool {
		if !e.ops.Ready() {
			t.Fatalf("not ready: %s", e.readyz())
		}
		return time.Now().After(until)
	}, "ready for longer than what is lost is forgiven")
	r.set(func() { r.mute = false })
	natstest.Eventually(t, wait, func() bool { return !strings.Contains(e.readyz(), "send heartbeat") }, "/readyz tells that it is back")
}
