package route

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tickfan/tickfan/libs/interest"
	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/libs/newest"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

// rig is a Loop in a bubble of synctest, with what it published. Its messages are put into the channel by hand; the
// tests of package router let NATS do it.
type rig struct {
	*Loop
	t    *testing.T
	end  context.CancelFunc
	mu   sync.Mutex
	sent []message
}

func newRig(t *testing.T) *rig {
	g := &rig{t: t}
	router := New(Options{
		Region: "local", Instance: "r1", Copies: 1, Window: window, Log: slog.New(slog.DiscardHandler),
		Publish: func(subj string, data []byte) error {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.sent = append(g.sent, message{subj, append([]byte(nil), data...)})
			return nil
		},
		Missed: func() {},
		Hears:  func() bool { return true },
		Stored: func(subject.Bucket, int) (control.PartValue, bool) { return control.PartValue{}, false },
	})
	g.Loop = NewLoop(router, func() {})
	return g
}

func (g *rig) run() {
	ctx, end := context.WithCancel(g.t.Context())
	g.end = end
	go g.Run(ctx)
}

func (g *rig) stop() {
	g.end()
	<-g.done
}

// take gives what was published on a subject and forgets it all.
func (g *rig) take(subj string) (out [][]byte) {
	synctest.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, m := range g.sent {
		if m.subject == subj {
			out = append(out, m.data)
		}
	}
	g.sent = nil
	return out
}

func (g *rig) tick(s subject.Symbol, seq uint64) {
	g.msgs <- &nats.Msg{Subject: subject.Ticks(s), Data: payload(s, 1, seq)}
}

func (g *rig) want(number uint64, s subject.Symbol, f control.Flag) {
	g.Change(interest.Change{Bucket: bucketA, Part: subject.Part(s),
		PartValue: control.PartValue{Number: number, Symbols: control.Set{s: f}}})
}

func seqs(t *testing.T, batches [][]byte) (out []uint64) {
	for _, p := range batches {
		var b tick.Batch
		if err := b.Decode(p); err != nil {
			t.Fatal(err)
		}
		for _, it := range b.Items {
			h, err := tick.DecodeHead(it)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, h.Seq)
		}
	}
	return out
}

const fanoutA = "fanout.local." + string(bucketA)

func TestLoopFlushesWhenTheWindowIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.run()
		defer g.stop()
		g.want(1, "BTC-USD", control.Latest)
		if err := g.Serve(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond) // of the bubble
		g.take(fanoutA)

		g.tick("BTC-USD", 1)
		if got := seqs(t, g.take(fanoutA)); len(got) != 1 || got[0] != 1 {
			t.Fatalf("the first tick: got %v at once", got)
		}
		for seq := range uint64(4) {
			g.tick("BTC-USD", 2+seq)
			if got := g.take(fanoutA); len(got) > 0 {
				t.Fatalf("a batch within the window: %v", seqs(t, got))
			}
		}
		time.Sleep(window)
		if got := seqs(t, g.take(fanoutA)); len(got) != 1 || got[0] != 5 {
			t.Fatalf("after the window: got %v, want 5", got)
		}
	})
}

func TestLoopBeatsAndKeepsTheIdleAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.run()
		defer g.stop()
		g.want(1, "BTC-USD", control.Latest)
		if err := g.Serve(t.Context()); err != nil {
			t.Fatal(err)
		}
		g.take("")
		time.Sleep(10*time.Second + time.Millisecond)
		synctest.Wait()
		g.mu.Lock()
		count := map[string]int{}
		for _, m := range g.sent {
			count[m.subject]++
		}
		g.mu.Unlock()
		if n := count["router.local.beat"]; n != 20 {
			t.Errorf("%d beats in 10 s, want 20", n)
		}
		if n := count[fanoutA]; n != 9 { // its turn came too soon after the first batch
			t.Errorf("%d batches to an idle bucket in 10 s, want 9", n)
		}
	})
}

// What was read from TICKS is newer than what waits in the channel, which must not be lost to who takes every tick.
func TestLoopTakesWhatWaitsBeforeAFill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.router.Store(bucketA, subject.Part("BTC-USD"), parts(1, "BTC-USD*")[subject.Part("BTC-USD")])
		g.router.Serve(time.Now())
		for seq := range uint64(1000) {
			g.tick("BTC-USD", 1+seq)
		}
		filled := make(chan error)
		go func() { filled <- g.Fill(t.Context(), []newest.Tick{stored("BTC-USD", 1, 2000)}) }()
		synctest.Wait()
		g.run()
		defer g.stop()
		if err := <-filled; err != nil {
			t.Fatal(err)
		}
		time.Sleep(window)
		got := seqs(t, g.take(fanoutA))
		if len(got) != 1001 || got[999] != 1000 || got[1000] != 2000 {
			t.Fatalf("%d ticks, the last %d", len(got), got[len(got)-1])
		}
	})
}

func TestLoopEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.run()
		g.want(1, "BTC-USD", control.Every)
		if err := g.Serve(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
		g.take("")
		for seq := range uint64(3) {
			g.tick("BTC-USD", 1+seq)
		}
		g.stop()
		g.mu.Lock()
		last := g.sent[len(g.sent)-1]
		g.mu.Unlock()
		beat, err := control.DecodeRouterBeat(last.data)
		if err != nil || !beat.Leaving || beat.Ready {
			t.Fatalf("the last message: %+v on %s, %v", beat, last.subject, err)
		}
		if got := seqs(t, g.take(fanoutA)); len(got) != 3 {
			t.Fatalf("of 3 ticks that waited %v left", got)
		}
		// Who hands something over afterwards is not held up.
		g.Change(interest.Change{})
		if err := g.Serve(t.Context()); !errors.Is(err, ErrEnded) {
			t.Fatalf("got %v, want ErrEnded", err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cause := errors.New("cause")
		cancel(cause)
		g.Loop = NewLoop(g.router, func() {}) // one that never runs
		if err := g.Fill(ctx, nil); !errors.Is(err, cause) {
			t.Fatalf("got %v, want the context's cause", err)
		}
	})
}

func TestLoopTellsDrops(t *testing.T) {
	nc := natstest.Start(t).Connect(t)
	g := newRig(t)
	lost := make(chan struct{}, 100)
	g.lost = func() { lost <- struct{}{} }
	g.msgs = make(chan *nats.Msg, 4)
	subs, err := g.Subscribe(nc)
	if err != nil || len(subs) != 4 {
		t.Fatalf("%d subscriptions, %v", len(subs), err)
	}
	for seq := range uint64(10) {
		if err := nc.Publish("ticks.BTC-USD", payload("BTC-USD", 1, 1+seq)); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil { // it has all arrived, and nobody takes it
		t.Fatal(err)
	}
	g.run()
	<-lost
	g.stop()
	if n := g.router.Stats().Ticks.Load(); n != 4 {
		t.Fatalf("%d ticks came, want 4", n)
	}
	if len(lost) > 0 {
		t.Fatal("one drop was told twice")
	}
}
