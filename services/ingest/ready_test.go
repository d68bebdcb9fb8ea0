package ingest

import (
	"strings"
	"testing"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/libs/ops"
)

// Neither who stamps nor who stands by is ready when NATS has been away for a while.
func TestReadyWithoutNATS(t *testing.T) {
	t.Parallel() // it takes as long as ops.Grace
	srv := natstest.Start(t)
	a := start(t, srv.URL())
	a.waitReady(t)
	b := start(t, srv.URL())
	b.waitReady(t)
	srv.Stop()
	for name, r := range map[string]*running{"leader": a, "standby": b} {
		natstest.Eventually(t, patience, func() bool { return strings.Contains(r.get("/readyz"), "connection to NATS cut") }, "/readyz of the %s says why", name)
	}
	if !a.mux.Ready() || !b.mux.Ready() {
		t.Errorf("not ready at once: %s %s", a.get("/readyz"), b.get("/readyz"))
	}
	for name, r := range map[string]*running{"leader": a, "standby": b} {
		natstest.Eventually(t, 2*ops.Grace, func() bool { return !r.mux.Ready() }, "the %s is not ready after a while", name)
		if body := r.get("/readyz"); !strings.Contains(body, `"condition":"ingest.nats"`) {
			t.Errorf("the %s: %s", name, body)
		}
	}
	srv.Restart()
	natstest.Eventually(t, patience, func() bool { return a.mux.Ready() && b.mux.Ready() }, "ready again")
}
