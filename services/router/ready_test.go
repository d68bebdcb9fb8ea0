package router

import (
	"strings"
	"testing"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/libs/ops"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
)

// lost waits until a router is not ready any more, because of a condition, but not before its grace is over.
func (r *running) lost(condition, why string) {
	r.t.Helper()
	natstest.Eventually(r.t, within, func() bool { return strings.Contains(r.get("/readyz"), why) }, "/readyz says %s", why)
	if !r.mux.Ready() {
		r.t.Errorf("not ready at once: %s", r.get("/readyz"))
	}
	natstest.Eventually(r.t, 2*ops.Grace, func() bool { return !r.mux.Ready() }, "not ready after a while")
	if body := r.get("/readyz"); !strings.Contains(body, `"condition":"`+condition+`"`) {
		r.t.Errorf("not because of %s: %s", condition, body)
	}
}

func TestReadyWithoutNATS(t *testing.T) {
	t.Parallel() // it takes as long as ops.Grace
	w := newWorld(t)
	w.makeTicks()
	w.makeInterest()
	r := w.run().ready()
	w.server.Stop()
	r.lost("router.nats", "connection to NATS cut")
	w.server.Restart()
	natstest.Eventually(t, within, r.mux.Ready, "ready again")
}

// Newest ticks that may have been missed and cannot be read, and a view of the interest that nobody confirms, are reasons
// of their own.
func TestReadyWithoutStores(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.makeTicks()
	w.makeInterest()
	w.put(bucketA, btcPart, value(1, control.Latest, btc))
	cable := natstest.NewCable(t, w.server.URL())
	r := w.runAt(cable.URL()).ready()
	for _, stream := range []string{subject.StreamTicks, "KV_" + subject.KVInterest} {
		if err := w.js.DeleteStream(t.Context(), stream); err != nil {
			t.Fatal(err)
		}
	}
	cable.Cut()
	waitFor(w, r, "cut")
	cable.Mend()
	r.lost("router.newest", "waiting for stream TICKS")
	natstest.Eventually(t, within, func() bool { return strings.Contains(r.get("/readyz"), "find store INTEREST") }, "the view is a reason, too")
	w.makeTicks()
	natstest.Eventually(t, within, func() bool { return !strings.Contains(r.get("/readyz"), "router.newest") }, "newest ticks read")
	natstest.Eventually(t, 2*ops.Grace, func() bool { return !r.mux.Ready() }, "not ready without a view of the interest")
	w.makeInterest()
	natstest.Eventually(t, within, r.mux.Ready, "ready again")
}
