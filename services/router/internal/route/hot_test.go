package route

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
)

// hot is a Router with n buckets that want one symbol, whose ticks are made beforehand. It publishes into nothing.
type hot struct {
	*Router
	now      time.Time
	payloads [][]byte
	at       int
	sent     int
}

const hotTicks = 1 << 12

func newHot(n int, every bool) *hot {
	h := &hot{now: start}
	h.Router = New(Options{
		Region: "local", Instance: "r1", Window: window, Log: slog.New(slog.DiscardHandler),
		Publish: func(string, []byte) error { h.sent++; return nil },
		Stored:  func(subject.Bucket, int) (control.PartValue, bool) { return control.PartValue{}, false },
	})
	flag := control.Latest
	if every {
		flag = control.Every
	}
	for i := range n {
		h.Store(subject.NewBucket("edge-abc123", i), subject.Part("BTC-USD"),
			control.PartValue{Number: 1, Symbols: control.Set{"BTC-USD": flag}})
	}
	h.Serve(h.now)
	for seq := range uint64(hotTicks) {
		h.payloads = append(h.payloads, payload("BTC-USD", 1, seq+1))
	}
	for range 10 { // until every slice has its room
		h.step(20)
	}
	return h
}

// step routes n ticks, then lets a window pass and flushes.
func (h *hot) step(n int) {
	for range n {
		h.route()
	}
	h.now = h.now.Add(window)
	h.Flush(h.now)
}

// route takes the next tick; after the last it forgets the symbol's place and starts over.
func (h *hot) route() {
	if h.at == len(h.payloads) {
		h.at = 0
		for e := range h.table.All() {
			e.Seq = 0
		}
	}
	h.Tick("ticks.BTC-USD", h.payloads[h.at], h.now)
	h.at++
}

func TestRoutingDoesNotAllocate(t *testing.T) {
	for _, every := range []bool{false, true} {
		for _, buckets := range []int{1, 100} {
			t.Run(fmt.Sprintf("every=%v/buckets=%d", every, buckets), func(t *testing.T) {
				h := newHot(buckets, every)
				before := h.sent
				if n := testing.AllocsPerRun(50, func() { h.step(8) }); n > 0 {
					t.Errorf("%v allocations for 8 ticks to %d buckets and their flush, want 0", n, buckets)
				}
				if want := 51 * buckets; h.sent-before != want {
					t.Errorf("%d batches left, want %d", h.sent-before, want)
				}
			})
		}
	}
}

func BenchmarkRoute(b *testing.B) {
	for _, every := range []bool{false, true} {
		for _, buckets := range []int{10, 100, 1000} {
			// A window of 20 ticks is 10,000 ticks a second of the one symbol at --flush 2ms.
			b.Run(fmt.Sprintf("every=%v/buckets=%d/ticks_per_window=20", every, buckets), func(b *testing.B) {
				h := newHot(buckets, every)
				b.ReportAllocs()
				n := 0
				for b.Loop() {
					h.route()
					if n++; n%20 == 0 {
						h.now = h.now.Add(window)
						h.Flush(h.now)
					}
				}
				b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "ticks/s")
			})
		}
	}
}
