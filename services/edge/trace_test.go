package edge

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/libs/telemetry/tracetest"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

const (
	traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	spanID  = "00f067aa0ba902b7"
)

// traced is a region whose ticks are traced, and an edge of it.
func traced(t *testing.T) (*tracetest.Collector, *region, *running) {
	c := tracetest.Start(t)
	for _, e := range c.Env() {
		name, value, _ := strings.Cut(e, "=")
		t.Setenv(name, value)
	}
	r := newRegion(t)
	r.set(func() { r.trace = "00-" + traceID + "-" + spanID + "-01" })
	return c, r, startEdge(t, r)
}

func now(sym subject.Symbol, seq uint64) tick.Tick {
	return tick.Tick{Symbol: sym, Position: tick.Position{Epoch: 7, Seq: seq}, At: time.Now().UnixMicro(), Quote: tick.Quote{Price: tick.MustDecimal("1"), TS: 1}}
}

// fanouts waits for n spans of ticks of one seq.
func fanouts(t *testing.T, c *tracetest.Collector, n int, seq string) (all []tracetest.Span) {
	t.Helper()
	natstest.Eventually(t, wait, func() bool {
		all = slices.DeleteFunc(c.Trace(traceID), func(s tracetest.Span) bool {
			return s.Name != "process fanout.{region}.{bucket}" || s.Parent != spanID || s.Attributes["tickfan.seq"] != seq
		})
		return len(all) == n
	}, "%d are followed", n)
	return all
}

// A span tells to how many a tick was written, and for how many the next one took its place.
func TestTraceOfTick(t *testing.T) {
	c, r, e := traced(t)
	r.publish("BTC-USD", 1, "1")
	quick, slow := dial(t, e, session.JSON), dial(t, e, session.MessagePack)
	quick.subscribe("BTC-USD")
	quick.expect(session.OpTick)
	slow.send(session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"BTC-USD"}, MaxRate: 1})
	slow.expect(session.OpSubscribed)
	slow.expect(session.OpTick)
	for seq := uint64(2); seq <= 3; seq++ {
		r.send(now("BTC-USD", seq))
		if m := quick.expect(session.OpTick); m.Seq != seq {
			t.Fatalf("got %+v", m)
		}
	}
	sum := map[string]int{}
	for _, s := range fanouts(t, c, min(cores(), 2), "2") { // each client has a bucket of its own where there are two
		for _, name := range []string{"subscribers", "written", "conflated", "late"} {
			n, err := strconv.Atoi(s.Attributes["tickfan."+name])
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			sum[name] += n
		}
	}
	if want := map[string]int{"subscribers": 2, "written": 1, "conflated": 1, "late": 0}; !maps.Equal(sum, want) {
		t.Errorf("tick 2: %v, want %v", sum, want)
	}
	if all := fanouts(t, c, 0, "1"); len(all) > 0 {
		t.Errorf("a tick of long ago is followed: %v", all)
	}
}

// Ticks that share a batch name each other.
func TestTracesOfBatch(t *testing.T) {
	c, r, e := traced(t)
	r.publish("BTC-USD", 1, "1")
	r.publish("ETH-USD", 1, "1")
	client := dial(t, e, session.Compact)
	client.subscribe("BTC-USD", "ETH-USD")
	client.expect(session.OpTick)
	client.expect(session.OpTick)
	r.set(func() {
		for id, b := range r.interest {
			r.sendLocked(id, b, now("BTC-USD", 2), now("ETH-USD", 2))
		}
	})
	all := fanouts(t, c, 2, "2")
	if a, b := all[0], all[1]; !slices.Equal(a.Links, []string{b.ID}) || !slices.Equal(b.Links, []string{a.ID}) {
		t.Errorf("linked to %v and %v", a.Links, b.Links)
	}
}
