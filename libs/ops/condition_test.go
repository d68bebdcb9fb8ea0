package ops_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tickfan/tickfan/libs/ops"
)

// What was there and is away for a moment costs nobody his readiness; what stays away does.
func TestLostAfterGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := ops.New("edge")
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close(context.Background())
		expect := func(status int, body string) {
			t.Helper()
			if s, b := get(m, "GET", "/readyz"); s != status || b != body {
				t.Errorf("/readyz: %d %s, want %d %s", s, b, status, body)
			}
		}
		nats := m.Condition("edge.nats")
		nats.Lost(errors.New("not reachable"))
		expect(503, `{"ready":false,"unmet":[{"condition":"edge.nats","reason":"not reachable"}]}`) // it never was there
		nats.Met("of two servers")

		nats.Lost(errors.New("cut"))
		time.Sleep(ops.Grace / 2)
		nats.Lost(errors.New("still cut")) // the time runs from the first
		expect(200, `{"ready":true,"unmet":[{"condition":"edge.nats","reason":"still cut","for":"5s"}]}`)
		time.Sleep(ops.Grace/2 - time.Millisecond)
		if !m.Ready() || nats.Err() != nil {
			t.Error("not ready within the grace")
		}
		time.Sleep(time.Millisecond)
		expect(503, `{"ready":false,"unmet":[{"condition":"edge.nats","reason":"still cut","for":"10s"}]}`)
		if nats.Err() == nil {
			t.Error("met after the grace")
		}

		nats.Set(nil)
		expect(200, `{"ready":true}`)
		nats.Lost(errors.New("cut")) // and has its grace again
		time.Sleep(ops.Grace - time.Millisecond)
		if !m.Ready() {
			t.Error("not ready within the second grace")
		}
		nats.Set(errors.New("closed")) // for good
		expect(503, `{"ready":false,"unmet":[{"condition":"edge.nats","reason":"closed"}]}`)
		nats.Lost(errors.New("cut"))
		if m.Ready() {
			t.Error("what was unmet has become met by being lost")
		}
	})
	var none *ops.Condition
	none.Lost(errors.New("cut"))
}
