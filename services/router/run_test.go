package router

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

const (
	btc subject.Symbol = "BTC-USD"
	eth subject.Symbol = "ETH-USD"
)

var (
	btcPart = subject.Part(btc)
	ethPart = subject.Part(eth)
)

func TestWaitsForWhatOthersMake(t *testing.T) {
	w := newWorld(t)
	r := w.run()
	waits := func(reason string) {
		t.Helper()
		natstest.Eventually(t, within, func() bool { return strings.Contains(r.get("/readyz"), reason) }, "not ready: %s", reason)
		if _, _, err := w.newest(btc); !errors.Is(err, nats.ErrNoResponders) {
			t.Fatalf("a router that is not ready answered: %v", err)
		}
	}
	waits("waiting for stream TICKS (made by ingest)")
	w.makeTicks()
	waits("waiting for KV store INTEREST (made by the registry)")
	w.makeInterest()
	r.ready()
	if !r.mux.Ready() {
		t.Fatalf("readyz: %s", r.get("/readyz"))
	}
	if seqs, missing, err := w.newest(btc); err != nil || len(seqs) != 0 || !slices.Equal(missing, []subject.Symbol{btc}) {
		t.Fatalf("%v, missing %v, %v", seqs, missing, err)
	}
}

func TestStartsWithWhatIsStored(t *testing.T) {
	w := newWorld(t)
	w.makeTicks()
	w.makeInterest()
	const symbols = 1500
	for i := range symbols {
		w.tick(subject.Symbol(fmt.Sprint("S", i)), 1, 1)
	}
	w.store(btc, 1, 41)
	w.store(btc, 1, 42)
	w.put(bucketA, btcPart, value(7, control.Latest, btc))
	f := w.listen(bucketA)

	r := w.run().ready()
	natstest.Eventually(t, within, func() bool { return f.confirmed(btcPart) == 7 }, "number 7 confirmed")
	if got := f.all(btc); !slices.Equal(got, []uint64{42}) {
		t.Fatalf("the bucket got %v with the number, want its newest, 42", got)
	}
	seqs, _, err := w.newest()
	if err != nil || len(seqs) != symbols+1 || seqs["BTC-USD"] != 42 {
		t.Fatalf("newest of all: %d symbols, BTC-USD at %d, %v", len(seqs), seqs["BTC-USD"], err)
	}
	natstest.Eventually(t, within, func() bool { return r.metric("tickfan_router_symbols", "") == symbols+1 }, "symbols in the metric")

	s, err := w.js.Stream(t.Context(), subject.StreamTicks)
	if err != nil {
		t.Fatal(err)
	}
	if n := s.CachedInfo().State.Consumers; n > 0 {
		t.Errorf("%d consumers of TICKS left behind", n)
	}
}

func TestRoutes(t *testing.T) {
	w := newWorld(t)
	w.makeTicks()
	w.makeInterest()
	a, b := w.listen(bucketA), w.listen(bucketB)
	w.put(bucketA, btcPart, value(1, control.Every, btc))
	w.put(bucketB, btcPart, value(1, control.Latest, btc))
	r := w.run().ready()

	const n = 2000
	for seq := range uint64(n) {
		w.tick(btc, 5, seq+1)
		w.tick(eth, 5, seq+1) // nobody's
	}
	natstest.Eventually(t, within, func() bool { return a.last(btc) == n && b.last(btc) == n }, "the last tick at both buckets")
	if got := a.all(btc); len(got) != n || !slices.IsSorted(got) {
		t.Errorf("mode every got %d of %d ticks", len(got), n)
	}
	if got := b.all(btc); !slices.IsSorted(got) {
		t.Error("mode latest went backwards")
	}
	if a.holes+b.holes > 0 || len(a.all(eth))+len(b.all(eth)) > 0 {
		t.Errorf("%d and %d holes; %d ticks that were not wanted", a.holes, b.holes, len(a.all(eth))+len(b.all(eth)))
	}
	w.tick(btc, 5, n)   // again
	w.tick(btc, 4, n+1) // an old leader
	w.tick(btc, 6, 1)
	natstest.Eventually(t, within, func() bool { return a.last(btc) == 1 }, "the first tick of the next epoch")
	if got := a.all(btc); len(got) != n+1 {
		t.Errorf("%d ticks, want %d", len(got), n+1)
	}
	for name, want := range map[string]float64{
		"tickfan_router_ticks_total": 2*n + 3, "tickfan_router_ticks_old_total": 2, "tickfan_router_publish_errors_total": 0,
	} {
		if got := r.metric(name, ""); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if r.metric("tickfan_router_batches_total", "") == 0 || r.metric("tickfan_router_items_total", "") <= n {
		t.Error("batches or items are not counted")
	}
}

func TestInterestComesAndGoes(t *testing.T) {
	w := newWorld(t)
	w.makeTicks()
	w.makeInterest()
	w.store(btc, 1, 10)
	w.run().ready()
	f := w.listen(bucketA)

	// Announced before the request, so the number is confirmed and the tick told, whichever way is first.
	w.announce(bucketA, btcPart, value(1, control.Latest, btc))
	if seqs, _, err := w.newest(btc); err != nil || seqs["BTC-USD"] != 10 {
		t.Fatalf("newest: %v, %v", seqs, err)
	}
	natstest.Eventually(t, within, func() bool { return f.confirmed(btcPart) == 1 }, "the announced number confirmed")
	if f.last(btc) != 10 {
		t.Fatalf("confirmed with %d, want its newest, 10", f.last(btc))
	}

	// Removed by announcement: still served, until KV says so.
	w.put(bucketA, btcPart, value(1, control.Latest, btc))
	w.announce(bucketA, btcPart, value(2, control.Latest))
	w.tick(btc, 1, 11)
	natstest.Eventually(t, within, func() bool { return f.confirmed(btcPart) == 2 && f.last(btc) == 11 }, "a tick after an announced removal")
	w.put(bucketA, btcPart, value(2, control.Latest))
	w.put(bucketA, ethPart, value(3, control.Latest, eth)) // in order after it
	natstest.Eventually(t, within, func() bool { return f.confirmed(ethPart) == 3 }, "the next change")
	w.tick(btc, 1, 12)
	w.tick(eth, 1, 1)
	natstest.Eventually(t, within, func() bool { return f.last(eth) == 1 }, "a tick of the other symbol")
	if f.last(btc) != 11 {
		t.Fatalf("got %d of a symbol that KV has removed", f.last(btc))
	}

	// Gone: no batch any more, not even an empty one, while another bucket hears some.
	other := w.listen(bucketB)
	w.purge(bucketA, btcPart)
	w.purge(bucketA, ethPart)
	w.put(bucketB, ethPart, value(1, control.Latest, eth))
	natstest.Eventually(t, within, func() bool { return other.confirmed(ethPart) == 1 }, "the other bucket served")
	before, others := f.count(), other.count()
	w.tick(eth, 1, 2)
	natstest.Eventually(t, within, func() bool { return other.count() >= others+3 }, "empty batches for the other bucket")
	if f.count() != before || f.holes+other.holes > 0 {
		t.Fatalf("%d batches to a bucket that is gone; %d and %d holes", f.count()-before, f.holes, other.holes)
	}
}

func TestRepairsAfterACut(t *testing.T) {
	w := newWorld(t)
	w.makeTicks()
	w.makeInterest()
	w.put(bucketA, btcPart, value(1, control.Latest, btc))
	w.put(bucketA, ethPart, value(1, control.Latest, eth))
	w.store(btc, 1, 1)
	w.store(eth, 1, 1)
	a, b := w.listen(bucketA), w.listen(bucketB)
	cable := natstest.NewCable(t, w.server.URL())
	r := w.runAt(cable.URL()).ready()
	natstest.Eventually(t, within, func() bool { return a.last(btc) == 1 && a.last(eth) == 1 }, "what is stored")

	cable.Cut()
	waitFor(w, r, "cut")
	w.store(btc, 1, 2)
	w.put(bucketB, ethPart, value(1, control.Latest, eth))
	w.purge(bucketA, ethPart)
	cable.Mend()

	natstest.Eventually(t, within, func() bool { return a.last(btc) == 2 }, "the tick that was missed")
	natstest.Eventually(t, within, func() bool { return b.last(eth) == 1 }, "interest that was missed")
	if got := a.all(eth); !slices.Equal(got, []uint64{1}) {
		t.Errorf("a repair sent %v of a symbol that had no newer tick", got)
	}
	natstest.Eventually(t, within, func() bool { return r.metric("tickfan_router_interest_symbols", "") == 2 }, "interest as KV has it")
	natstest.Eventually(t, within, func() bool { return r.metric("tickfan_router_repairs_total", `reason="reconnect"`) >= 1 }, "a repair counted")
	natstest.Eventually(t, within, func() bool { return r.mux.Ready() }, "ready again")
	w.tick(btc, 1, 3)
	natstest.Eventually(t, within, func() bool { return a.last(btc) == 3 }, "ticks go on")
}

func TestOutlivesTheServer(t *testing.T) {
	w := newWorld(t)
	w.makeTicks()
	w.makeInterest()
	w.put(bucketA, btcPart, value(1, control.Latest, btc))
	w.store(btc, 1, 1)
	f := w.listen(bucketA)
	r := w.run().ready()
	natstest.Eventually(t, within, func() bool { return f.last(btc) == 1 }, "what is stored")
	w.server.Restart()
	natstest.Eventually(t, within, func() bool { return r.metric("tickfan_router_repairs_total", `reason="reconnect"`) >= 1 }, "a repair")
	natstest.Eventually(t, within, func() bool { return w.nc.IsConnected() }, "the publisher connected again")
	w.store(btc, 1, 2)
	natstest.Eventually(t, within, func() bool { return f.last(btc) == 2 }, "a tick of the new server")
	if seqs, _, err := w.newest(); err != nil || seqs["BTC-USD"] != 2 {
		t.Fatalf("newest: %v, %v", seqs, err)
	}
}

// Ingest's beats tell how many ticks there were; a router that has had fewer reads the newest from TICKS.
func TestTicksLostOnTheWay(t *testing.T) {
	w := newWorld(t)
	w.makeTicks()
	w.makeInterest()
	r := w.run().ready()
	for _, count := range []uint64{1, 2} { // and none of them came
		b := tick.BeatMsg{Epoch: 1, Count: count, Time: 1}
		if err := w.nc.Publish(subject.Beat, b.Append(nil)); err != nil {
			t.Fatal(err)
		}
	}
	natstest.Eventually(t, within, func() bool {
		return r.metric("tickfan_router_ticks_missed_total", "") == 1 && strings.Contains(r.get("/metrics"), `reason="missed"`)
	}, "a repair")
}

func TestStop(t *testing.T) {
	w := newWorld(t)
	w.makeTicks()
	w.makeInterest()
	w.put(bucketA, btcPart, value(1, control.Every, btc))
	f := w.listen(bucketA)
	beats, err := w.nc.SubscribeSync(subject.RouterBeat("local"))
	if err != nil {
		t.Fatal(err)
	}
	r := w.run().ready()
	const n = 5000
	for seq := range uint64(n) {
		w.tick(btc, 1, seq+1)
	}
	// What the server has handed out by now is sent before the router ends.
	natstest.Eventually(t, within, func() bool { return r.metric("tickfan_router_ticks_total", "") > 0 }, "the first of them")
	if err := w.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	r.stop()
	natstest.Eventually(t, within, func() bool { return f.last(btc) == n }, "every tick, though told to stop")
	if got := f.all(btc); len(got) != n || f.holes > 0 {
		t.Errorf("%d ticks of %d, %d holes", len(got), n, f.holes)
	}
	var last control.RouterBeat
	natstest.Eventually(t, within, func() bool {
		m, err := beats.NextMsg(time.Second)
		if err != nil {
			return false
		}
		last, err = control.DecodeRouterBeat(m.Data)
		return err == nil && last.Leaving
	}, "a beat that says leaving")
	if !strings.Contains(r.get("/readyz"), "stopping") {
		t.Errorf("readyz: %s", r.get("/readyz"))
	}
	if _, _, err := w.newest(btc); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("a router that has ended answered: %v", err)
	}
}

func TestStopsWhileItWaits(t *testing.T) {
	for name, prepare := range map[string]func(*world, *running){
		"for TICKS":    func(w *world, r *running) { waitFor(w, r, "TICKS") },
		"for INTEREST": func(w *world, r *running) { w.makeTicks(); waitFor(w, r, "INTEREST") },
		"for NATS": func(w *world, r *running) {
			waitFor(w, r, "TICKS")
			w.server.Stop()
			waitFor(w, r, "cut")
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r := w.run()
			prepare(w, r)
			r.stop()
		})
	}
}

func waitFor(w *world, r *running, reason string) {
	w.t.Helper()
	natstest.Eventually(w.t, within, func() bool { return strings.Contains(r.get("/readyz"), reason) }, "waiting for %s", reason)
}

func TestBeat(t *testing.T) {
	w := newWorld(t)
	w.makeTicks()
	w.makeInterest()
	w.put(bucketA, btcPart, value(1, control.Latest, btc))
	f := w.listen(bucketA)
	r := w.run().ready()
	natstest.Eventually(t, within, func() bool { return f.count() > 0 }, "a batch")
	if f.mu.Lock(); !f.noBeat {
		t.Error("a beat age although there was none")
	}
	if age := r.metric("tickfan_router_beat_age_milliseconds", ""); age != tick.NoBeat {
		t.Errorf("a beat age of %v in the metric although there was none", age)
	}
	f.mu.Unlock()
	beat := tick.BeatMsg{Epoch: 1, Count: 0, Time: 1}
	if err := w.nc.Publish(subject.Beat, beat.Append(nil)); err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, within, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return !f.noBeat
	}, "a batch that knows of the beat")
	natstest.Eventually(t, within, func() bool { return r.metric("tickfan_router_beat_age_milliseconds", "") >= 0 }, "the age in the metric")
}

// A router that stops while NATS does, or hangs, waits for neither longer than it serves on and a moment more.
func TestStopsWithNATS(t *testing.T) {
	for name, goes := range map[string]func(w *world, way *natstest.Cable){
		"stopped": func(w *world, _ *natstest.Cable) { w.server.Stop() },
		"cut":     func(_ *world, way *natstest.Cable) { way.Cut() },
		"hangs":   func(_ *world, way *natstest.Cable) { way.Stall() },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.makeTicks()
			w.makeInterest()
			w.put(bucketA, btcPart, value(1, control.Every, btc))
			w.run().ready() // another one, so that it has somebody to serve on for
			way := natstest.NewCable(t, w.server.URL())
			r := w.runAt(way.URL()).ready()
			natstest.Eventually(t, within, func() bool { return r.metric("tickfan_router_routers", "") == 2 }, "they know each other")
			w.tick(btc, 1, 1)
			began := time.Now()
			goes(w, way)
			r.stop()
			if took := time.Since(began); took > serveOn+2*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}
