package router

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

// ranged asks for a range as an edge does. ok is false when no answer came to its end.
func (w *world) ranged(g tick.Range, within time.Duration) (seqs []uint64, lack tick.Lack, ok bool) {
	w.t.Helper()
	inbox := w.nc.NewInbox()
	sub, err := w.nc.SubscribeSync(inbox)
	if err != nil {
		w.t.Fatal(err)
	}
	defer sub.Unsubscribe()
	req := tick.NewestRequest{Range: g}
	if err := w.nc.PublishRequest(subject.RouterNewest("local"), inbox, req.Append(nil)); err != nil {
		w.t.Fatal(err)
	}
	for {
		m, err := sub.NextMsg(within)
		if err != nil {
			return seqs, 0, false
		}
		a, err := tick.DecodeNewestAnswer(m.Data)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, p := range a.Ticks {
			h, err := tick.DecodeHead(p)
			if err != nil {
				w.t.Fatal(err)
			}
			seqs = append(seqs, h.Seq)
		}
		if a.Last {
			return seqs, a.Lack, true
		}
	}
}

func TestAnswersRanges(t *testing.T) {
	w := newWorld(t)
	w.makeTicks() // 100 of each symbol
	w.makeInterest()
	for seq := range uint64(150) {
		w.tick(btc, 5, seq+1)
		w.tick(eth, 5, seq+1)
	}
	w.store(btc, 6, 1)
	r := w.run().ready()
	for _, c := range []struct {
		epoch, from, to uint64
		first           uint64
		n               int
		lack            tick.Lack
	}{
		{5, 60, 150, 60, 91, tick.Nothing},
		{5, 1, 60, 52, 9, tick.Gone},
		{5, 1, 20, 0, 0, tick.Gone},
		{6, 1, 1, 1, 1, tick.Nothing},
		{6, 1, 9, 1, 1, tick.Ahead},
	} {
		g := tick.Range{Symbol: btc, Epoch: c.epoch, From: c.from, To: c.to}
		seqs, lack, ok := w.ranged(g, within)
		if !ok || len(seqs) != c.n || lack != c.lack || c.n > 0 && seqs[0] != c.first || !slices.IsSorted(seqs) {
			t.Errorf("%+v: %v, lack %d, answered %v", g, seqs, lack, ok)
		}
	}
	for name, want := range map[string]float64{"tickfan_router_ranges_total": 5, "tickfan_router_ranges_refused_total": 0, "tickfan_router_range_ticks_total": 102} {
		if got := r.metric(name, ""); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	// Junk, and more than may be asked for, get no answer.
	if seqs, _, ok := w.ranged(tick.Range{Symbol: btc, Epoch: 5, From: 1, To: 2000}, 200*time.Millisecond); ok {
		t.Errorf("a range of 2,000 is answered: %d ticks", len(seqs))
	}
}

// Without TICKS a range is refused, not answered as if there were nothing; ticks are routed meanwhile.
func TestRefusesRangesWithoutTicks(t *testing.T) {
	w := newWorld(t)
	w.makeTicks()
	w.makeInterest()
	w.put(bucketA, btcPart, value(1, control.Every, btc))
	w.store(btc, 5, 1)
	f := w.listen(bucketA)
	r := w.run().ready()
	if err := w.js.DeleteStream(t.Context(), subject.StreamTicks); err != nil {
		t.Fatal(err)
	}
	g := tick.Range{Symbol: btc, Epoch: 5, From: 1, To: 3}
	if seqs, lack, ok := w.ranged(g, within); !ok || lack != tick.Refused || len(seqs) > 0 {
		t.Errorf("%v, lack %d, answered %v", seqs, lack, ok)
	}
	w.tick(btc, 5, 2)
	natstest.Eventually(t, within, func() bool { return f.last(btc) == 2 }, "a tick meanwhile")
	w.makeTicks()
	w.store(btc, 5, 3)
	if seqs, lack, ok := w.ranged(g, within); !ok || lack != tick.Gone || !slices.Equal(seqs, []uint64{3}) {
		t.Errorf("made again: %v, lack %d, answered %v", seqs, lack, ok)
	}
	if r.metric("tickfan_router_ranges_refused_total", "") != 1 {
		t.Error("the refusal is not counted")
	}
}

// Many questions at once: each is answered or refused, and the batches of the router come on time meanwhile.
func TestManyRangesDoNotStallTheRouter(t *testing.T) {
	w := newWorld(t)
	w.makeTicks()
	w.makeInterest()
	w.put(bucketA, btcPart, value(1, control.Every, btc))
	for seq := range uint64(100) {
		w.tick(eth, 5, seq+1)
	}
	f := w.listen(bucketA)
	r := w.run().ready()

	const asked = 2000
	answers := make(chan tick.NewestAnswer, 4*asked)
	inbox := w.nc.NewInbox()
	if _, err := w.nc.Subscribe(inbox, func(m *nats.Msg) {
		a, err := tick.DecodeNewestAnswer(m.Data)
		if err != nil {
			t.Error(err)
		}
		answers <- a
	}); err != nil {
		t.Fatal(err)
	}
	for range asked {
		req := tick.NewestRequest{Range: tick.Range{Symbol: eth, Epoch: 5, From: 1, To: 100}}
		if err := w.nc.PublishRequest(subject.RouterNewest("local"), inbox, req.Append(nil)); err != nil {
			t.Fatal(err)
		}
	}
	w.tick(btc, 5, 1)
	ended, refused := 0, 0
	deadline := time.After(within)
	for ended < asked {
		select {
		case a := <-answers:
			if a.Last {
				ended++
			}
			if a.Lack == tick.Refused {
				refused++
			}
		case <-deadline:
			t.Fatalf("%d of %d answered", ended, asked)
		}
	}
	if f.last(btc) != 1 {
		t.Error("a tick waits for all the ranges asked before it")
	}
	if refused == 0 || refused == asked {
		t.Errorf("%d of %d refused", refused, asked)
	}
	if n := r.metric("tickfan_router_ranges_refused_total", ""); n != float64(refused) {
		t.Errorf("%v refused in the metric, %d in answers", n, refused)
	}
	s, err := w.js.Stream(t.Context(), subject.StreamTicks)
	if err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, within, func() bool {
		info, err := s.Info(t.Context())
		return err == nil && info.State.Consumers == 0
	}, "no consumer is left behind")
}

// A router that stops answers on until it is gone, and what is asked of it in its last moments, the server having it on its
// way when the router takes its leave, is answered or refused, not lost.
func TestStoppingRouterAnswers(t *testing.T) {
	w := newWorld(t)
	w.makeTicks()
	w.makeInterest()
	w.store(btc, 5, 1)
	way := natstest.NewCable(t, w.server.URL())
	first, second := w.runAt(way.URL()).ready(), w.run().ready()
	for _, r := range []*running{first, second} {
		natstest.Eventually(t, within, func() bool { return r.metric("tickfan_router_routers", "") == 2 }, "they know each other")
	}
	var mu sync.Mutex
	served := true            // as well as ever: the way is not about to be held up
	open := map[string]bool{} // what is not answered, by the subject of its answer; whether served was true when it was asked
	refused := 0
	inbox := w.nc.NewInbox()
	if _, err := w.nc.Subscribe(inbox+".*", func(m *nats.Msg) {
		a, err := tick.DecodeNewestAnswer(m.Data)
		mu.Lock()
		defer mu.Unlock()
		before, asked := open[m.Subject]
		if err != nil || !asked || !a.Last {
			t.Errorf("answer on %s: %v", m.Subject, err)
		}
		delete(open, m.Subject)
		if a.Lack == tick.Refused && before {
			refused++
		}
	}); err != nil {
		t.Fatal(err)
	}
	asked, ranges := 0, 0 // ranges: while served
	ask := func(req tick.NewestRequest) {
		asked++
		reply := fmt.Sprint(inbox, ".", asked)
		mu.Lock()
		open[reply] = served
		if served && req.Range.Symbol != "" {
			ranges++
		}
		mu.Unlock()
		if err := w.nc.PublishRequest(subject.RouterNewest("local"), reply, req.Append(nil)); err != nil {
			t.Fatal(err)
		}
	}
	stopped := make(chan struct{})
	go func() { defer close(stopped); first.stop() }()
	hurry, stall, mend := time.After(serveOn/2), time.After(serveOn*3/4), time.After(serveOn*3/2) // it unsubscribes in between
	next := time.NewTicker(time.Millisecond)
	defer next.Stop()
	for round, going := 0, true; going; round++ {
		for range 10 {
			ask(tick.NewestRequest{Symbols: []subject.Symbol{btc}})
		}
		if round%10 == 0 {
			ask(tick.NewestRequest{Range: tick.Range{Symbol: btc, Epoch: 5, From: 1, To: 1}})
		}
		select {
		case <-stopped:
			going = false
		case <-hurry:
			mu.Lock()
			served = false
			mu.Unlock()
		case <-stall:
			way.Stall()
		case <-mend:
			way.Mend()
		case <-next.C:
		}
	}
	natstest.Eventually(t, within, func() bool { mu.Lock(); defer mu.Unlock(); return len(open) == 0 }, "every answer")
	if refused > ranges/4 { // a busy machine is too slow for some; half of them were asked of the router that stops
		t.Errorf("%d of %d ranges refused while the router served on", refused, ranges)
	}
}

// What is asked of a router that stops is answered or refused; another one answers what is asked after it.
func TestRangesOverARestart(t *testing.T) {
	w := newWorld(t)
	w.makeTicks()
	w.makeInterest()
	w.store(btc, 5, 1)
	r := w.run().ready()
	g := tick.Range{Symbol: btc, Epoch: 5, From: 1, To: 1}
	ended := make(chan struct{})
	go func() { defer close(ended); r.stop() }()
	for open := true; open; {
		if _, _, ok := w.ranged(g, within); !ok { // no responders, which is said at once
			<-ended
		}
		select {
		case <-ended:
			open = false
		default:
		}
	}
	w.run().ready()
	if seqs, lack, ok := w.ranged(g, within); !ok || lack != tick.Nothing || len(seqs) != 1 {
		t.Errorf("%v, lack %d, answered %v", seqs, lack, ok)
	}
}
