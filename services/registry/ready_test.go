package registry

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/libs/ops"
)

func (i *instance) readyz() string {
	w := httptest.NewRecorder()
	i.mux.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	return w.Body.String()
}

// A registry without NATS can be asked nothing, and its views show nobody knows what.
func TestReadyWithoutNATS(t *testing.T) {
	t.Parallel() // it takes as long as ops.Grace
	b := newBench(t)
	i := b.start(slow)
	b.server.Stop()
	natstest.Eventually(t, soon, func() bool { return strings.Contains(i.readyz(), "connection to NATS cut") }, "/readyz says why")
	if !i.mux.Ready() {
		t.Errorf("not ready at once: %s", i.readyz())
	}
	natstest.Eventually(t, 2*ops.Grace, func() bool { return !i.mux.Ready() }, "not ready after a while")
	for _, condition := range []string{"registry.nats", "registry.edges", "registry.interest"} {
		natstest.Eventually(t, soon, func() bool { return strings.Contains(i.readyz(), `"condition":"`+condition+`"`) }, "because of %s", condition)
	}
	b.server.Restart()
	natstest.Eventually(t, soon, i.mux.Ready, "ready again")
}
