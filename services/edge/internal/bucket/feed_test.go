package bucket

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

func batch(b *Bucket, now int64, m tick.Batch, ticks ...tick.Tick) {
	m.Router = "r1.1"
	for i := range ticks {
		m.Items = append(m.Items, ticks[i].Append(nil))
	}
	b.feed.batch(b, m.Append(nil), now)
}

// While nobody wants anything no batch tells of ingest's beats, so what was known of them says nothing afterwards.
func TestNoStaleAfterAPause(t *testing.T) {
	b := bench(0)
	live(b, "X", control.Latest)
	o := &outlet{}
	s := join(b, o)
	now := int64(time.Hour)
	check := func(wanted int64) {
		b.symbols.Store(wanted)
		now += int64(checkEvery)
		b.feed.check(b, now)
	}
	batch(b, now, tick.Batch{Number: 1})
	check(1)
	check(0)
	now += int64(time.Minute)
	check(1)
	batch(b, now, tick.Batch{Number: 2})
	check(1)
	if len(o.took) != 0 {
		t.Errorf("told %q though ingest was never silent", o.took)
	}

	now += int64(staleAfter)
	check(1)
	check(0) // unsubscribed while it is stale
	now += int64(time.Minute)
	request(b, s, now, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"X"}})
	check(1)
	batch(b, now, tick.Batch{Number: 3})
	check(1)
	if n := len(o.took); n == 0 || !strings.Contains(o.took[0], "stale") || !strings.Contains(o.took[n-1], "fresh") {
		t.Errorf("told %q", o.took)
	}
}

// Loss upon loss does not ask for everything each time, and an answer is good however late it comes.
func TestResyncsAreBounded(t *testing.T) {
	b := bench(0)
	live(b, "X", control.Latest)
	b.symbols.Store(1)
	now := int64(time.Hour)
	for i := range 100 {
		batch(b, now+int64(i)*int64(time.Millisecond), tick.Batch{Number: uint64(2 * (i + 1))})
	}
	if n := b.o.Stats.Resyncs.Load(); n != 1 {
		t.Errorf("%d resyncs within 100 ms", n)
	}
	b.feed.check(b, now+int64(checkEvery))
	if n := b.o.Stats.Resyncs.Load(); n != 2 {
		t.Errorf("%d resyncs, want one more: what was lost after the first one's answer", n)
	}
}

// A router that serves a bucket again, after another did, begins a new series of batches; a loss is a loss then, too, also
// one as long as the series before.
func TestSeriesOfBatches(t *testing.T) {
	b := bench(0)
	now := int64(time.Hour)
	holes := int64(0)
	for _, step := range []struct {
		router string
		number uint64
		lost   bool
	}{{"r1.1", 1, false}, {"r1.1", 2, false}, {"r1.1", 4, true}, {"r1.1", 5, false}, {"r1.2", 1, false}, {"r1.2", 2, false},
		{"r1.2", 4, true}, {"r1.2", 3, true}, {"r1.3", 4, true}, {"r1.3", 5, false}, {"r2.1", 6, true}, {"r1.3", 6, false}, {"r1.3", 1, true}} {
		m := tick.Batch{Router: step.router, Number: step.number}
		b.feed.batch(b, m.Append(nil), now)
		if step.lost {
			holes++
		}
		if n := b.o.Stats.Holes.Load(); n != holes {
			t.Fatalf("batch %s:%d: %d holes, want %d", step.router, step.number, n, holes)
		}
	}
}

// Of two routers each counts for itself, a tick is taken from the first that brings it, and the death of one is no hole.
func TestTwoCopies(t *testing.T) {
	b := bench(0)
	u := live(b, "X", control.Latest)
	o := &outlet{}
	request(b, join(b, o), 0, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"X"}})
	o.took = nil
	now := int64(time.Hour)
	for n := range uint64(10) {
		for _, router := range []string{"r1.1", "r2.1"} {
			if router == "r1.1" && n > 5 {
				continue
			}
			tk := tick.Tick{Symbol: "X", Position: tick.Position{Epoch: 1, Seq: n + 1}, Quote: tick.Quote{Price: tick.MustDecimal("1")}}
			m := tick.Batch{Router: router, Number: n + 1, Items: [][]byte{tk.Append(nil)}}
			b.feed.batch(b, m.Append(nil), now)
			b.flushDue(now)
		}
	}
	st := b.o.Stats
	if len(o.took) != 10 || u.newest.Seq != 10 || st.Holes.Load() != 0 || st.Old.Load() != 6 {
		t.Errorf("%d ticks sent, newest %d, %d holes, %d old: want 10, 10, 0, 6", len(o.took), u.newest.Seq, st.Holes.Load(), st.Old.Load())
	}
}

// A batch that shows a loss may confirm a topic whose newest value is what was lost: what the table remembers is not shown.
func TestLossDoesNotShowARememberedValue(t *testing.T) {
	b := bench(0)
	o := &outlet{}
	s := join(b, o)
	now := int64(time.Hour)
	u := b.topic("X")
	publish(b, u, 10, now)
	request(b, s, now, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"X"}})
	b.syncInterest(now)
	second := tick.Batch{Number: 2} // the first one is lost
	second.Interest[u.part] = 1
	batch(b, now, second)
	b.completePending(now)
	if u.live || len(o.took) != 0 {
		t.Errorf("live: %v, %q", u.live, o.took)
	}
	m := tick.NewestAnswer{Last: true, Ticks: [][]byte{(&tick.Tick{Symbol: "X", Position: tick.Position{Epoch: 1, Seq: 100},
		Quote: tick.Quote{Price: tick.MustDecimal("1")}}).Append(nil)}}
	b.feed.answered(b, message(m.Append(nil)), 1, now)
	b.completePending(now)
	if len(o.took) != 2 || !strings.Contains(o.took[1], `"seq":100`) {
		t.Errorf("%q", o.took)
	}
}

// Parts that are empty by now are sent again too: the registry may have an older set of them.
func TestResendCoversEmptyParts(t *testing.T) {
	b := bench(0)
	now := int64(time.Hour)
	b.written[3].Store(&answered{number: 7})
	b.do(&command{kind: resend})
	b.syncInterest(now)
	if c := b.interest.change; c == nil || !slices.Contains(c.parts, 3) {
		t.Errorf("%+v", c)
	}
	b.do(&command{kind: resend})
	if b.interest.anyDirty() {
		t.Error("sent anew while it is on its way")
	}
}

// A change that is not answered is sent again, after as long as it has taken so far, up to answerMost; and soon where
// nobody was there to answer.
func TestRepeatsSlowDown(t *testing.T) {
	b := bench(0)
	now := int64(time.Hour)
	s := join(b, &outlet{})
	request(b, s, now, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"A"}})
	b.syncInterest(now)
	c := b.interest.change
	for i, wait := range []time.Duration{answerTime, answerTime, 2 * answerTime, 4 * answerTime, answerMost, answerMost, answerTime, answerTime} {
		sent := c.sent
		if i == 6 {
			b.interestAnswered(&nats.Msg{Header: nats.Header{"Status": []string{"503"}}}, c.number, sent)
		}
		b.syncInterest(sent + int64(wait) - 1)
		if c.sent != sent {
			t.Fatalf("sent again before %s", wait)
		}
		b.syncInterest(sent + int64(wait))
		if c.sent == sent {
			t.Fatalf("not sent again after %s", wait)
		}
	}
}

// Once a change is answered, all its parts' topics are asked for, those also that an unanswered change before it added.
func TestAnswerAsksForEarlierChangesToo(t *testing.T) {
	b := bench(0)
	now := int64(time.Hour)
	s := join(b, &outlet{})
	request(b, s, now, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"A"}})
	b.syncInterest(now)
	request(b, s, now, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"B"}})
	now += int64(confirmTime)
	b.syncInterest(now)
	b.interestAnswered(message([]byte(`{"number":2}`)), 2, now)
	for _, a := range b.feed.asks {
		slices.Sort(a.symbols)
		if !slices.Equal(a.symbols, []subject.Symbol{"A", "B"}) {
			t.Errorf("asked for %s", a.symbols)
		}
	}
	if len(b.feed.asks) != 1 {
		t.Errorf("%d questions", len(b.feed.asks))
	}
}

// A change is never too large for NATS: what has no room follows with the next, and each part has its turn also while
// the registry answers none and so all of them are sent again.
func TestLargeInterestLeavesInParts(t *testing.T) {
	for _, answers := range []bool{true, false} {
		b := bench(0)
		now := int64(time.Hour)
		for _, sym := range symbols("ABCDEFGHIJKLMNOPQRSTUVWXYZ", 30000) {
			u := b.topic(sym)
			u.holds++
			b.needed(u)
		}
		sent := map[int]bool{}
		for range subject.Parts {
			b.syncInterest(now)
			c := b.interest.change
			if c == nil {
				break // all of it is done
			}
			if len(c.payload) > 1<<20 {
				t.Fatalf("%d bytes", len(c.payload))
			}
			c.answered = answers
			for _, p := range c.parts {
				sent[p] = true
				b.feed.confirmed[p] = c.number
			}
		}
		if len(sent) != subject.Parts {
			t.Errorf("answers %v: parts %v sent, want all", answers, sent)
		}
	}
}

// What a worker was too slow to take may have been a batch, or one message of an answer of several: the newest of everything
// is asked for, without waiting for a batch that shows a hole.
func TestDropsAreMended(t *testing.T) {
	for _, which := range []string{"a batch", "an answer"} {
		t.Run(which, func(t *testing.T) {
			nc := natstest.Start(t).Connect(t)
			asked, err := nc.SubscribeSync(subject.RouterNewest("local"))
			if err != nil {
				t.Fatal(err)
			}
			b, err := New(Options{ID: "edge-ab12cd-0", Region: "local", NATS: nc, Stats: &Stats{}, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			defer b.unsubscribe()
			live(b, "X", control.Latest)
			b.symbols.Store(1)
			subj := subject.Fanout("local", b.ID())
			if which == "an answer" {
				subj = b.inbox + ".newest.1"
			}
			now := int64(time.Hour)
			batch(b, now, tick.Batch{Number: 1})
			for range pendingMsgs + 1 {
				if err := nc.Publish(subj, nil); err != nil {
					t.Fatal(err)
				}
			}
			if err := nc.Flush(); err != nil { // it has all arrived, and nobody takes it
				t.Fatal(err)
			}
			b.feed.check(b, now)
			b.feed.check(b, now+int64(checkEvery))
			if n := b.o.Stats.Resyncs.Load(); n != 1 {
				t.Errorf("%d resyncs, want 1", n)
			}
			if _, err := asked.NextMsg(10 * time.Second); err != nil {
				t.Errorf("nothing is asked for: %v", err)
			}
		})
	}
}

func message(p []byte) *nats.Msg { return &nats.Msg{Data: p} }
