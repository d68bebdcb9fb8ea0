package stored

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/libs/bus"
	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

func TestMain(m *testing.M) { natstest.Main(m) }

const patience = 20 * time.Second

// stamper has one symbol.
type stamper struct {
	epoch atomic.Uint64

	mu    sync.Mutex
	p     tick.Position
	at    time.Time
	again []tick.Position
	js    jetstream.JetStream // where again goes; nil: nowhere
}

func (s *stamper) Epoch() uint64 { return s.epoch.Load() }

func (s *stamper) Newest(f func(subject.Symbol, tick.Position, int64)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.p.Seq > 0 {
		f("BTC-USD", s.p, s.at.UnixMicro())
	}
}

func (s *stamper) Again(sym subject.Symbol, p tick.Position) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.again = append(s.again, p)
	if s.js != nil {
		publish(s.js, p)
	}
	return true
}

func (s *stamper) stamp(p tick.Position, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.p, s.at = p, at
}

func (s *stamper) published() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.again)
}

func publish(js jetstream.JetStream, p tick.Position) {
	t := tick.Tick{Symbol: "BTC-USD", Position: p, Quote: tick.Quote{Price: tick.MustDecimal("1"), TS: 1}}
	_, _ = js.Publish(context.Background(), "ticks.BTC-USD", t.Append(nil)) // what is not stored is what the test waits for
}

func at(seq uint64) tick.Position { return tick.Position{Epoch: 7, Seq: seq} }

// Without time and without NATS.
func TestLateTicksArePublishedAgainMoreAndMoreSeldom(t *testing.T) {
	now := time.Unix(1763769600, 0)
	s := &stamper{}
	s.epoch.Store(7)
	f := New(Options{Stamper: s, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }})
	s.stamp(at(1), now)
	for range 600 { // ten minutes
		f.look()
		now = now.Add(time.Second)
	}
	if n := s.published(); n < 10 || n > 20 { // after 1, 2, 4, ... 60 s, and each minute
		t.Errorf("published again %d times in 10 minutes", n)
	}
	// What an old leader wrote after it stands in its place.
	f.stored("BTC-USD", at(1))
	before := s.published()
	f.look()
	f.stored("BTC-USD", tick.Position{Epoch: 6, Seq: 99})
	now = now.Add(time.Second)
	f.look()
	if n := s.published(); n != before+1 {
		t.Errorf("published again %d times, want once", n-before)
	}
	// Not so what another leader wrote after it, of whom this one has not heard yet.
	before = s.published()
	f.stored("BTC-USD", tick.Position{Epoch: 8, Seq: 1})
	now = now.Add(longest)
	f.look()
	if n := s.published(); n != before {
		t.Errorf("published again %d times after a newer leader's", n-before)
	}
	f.stored("BTC-USD", at(1))
	// A new one begins at a second.
	s.stamp(at(2), now)
	now = now.Add(due)
	f.look()
	if n := s.published(); n != before+1 {
		t.Errorf("a new tick: %d times, want once", n-before)
	}
}

// A clock that was set back does not make a late tick wait until it has come again.
func TestClockSetBack(t *testing.T) {
	now := time.Unix(1763769600, 0)
	s := &stamper{}
	s.epoch.Store(7)
	f := New(Options{Stamper: s, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }})
	s.stamp(at(1), now)
	now = now.Add(-time.Hour)
	f.look()
	if n := s.published(); n != 1 {
		t.Errorf("published again %d times, want once", n)
	}
}

func TestWait(t *testing.T) {
	now := time.Unix(1763769600, 0)
	s := &stamper{}
	f := New(Options{Stamper: s, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }})
	got := map[string][]bool{}
	wait := func(name string, p tick.Position) {
		f.Wait("BTC-USD", p, func(ok bool) { got[name] = append(got[name], ok) })
	}
	wait("first", at(1))
	wait("second", at(2))
	wait("never", at(9))
	f.stored("ETH-USD", at(9))
	f.stored("BTC-USD", at(1))
	if len(got) != 1 || !got["first"][0] {
		t.Errorf("got %v", got)
	}
	f.stored("BTC-USD", at(3)) // TICKS keeps order: the second will not come any more
	f.stored("BTC-USD", at(4))
	wait("late", at(3))
	now = now.Add(WaitTime)
	f.expire()
	f.expire()
	for name, want := range map[string]bool{"first": true, "second": false, "late": true, "never": false} {
		if len(got[name]) != 1 || got[name][0] != want {
			t.Errorf("%s: %v", name, got[name])
		}
	}
	wait("at the end", at(9))
	f.giveUp()
	if len(got["at the end"]) != 1 || got["at the end"][0] {
		t.Errorf("at the end: %v", got["at the end"])
	}
}

func TestFollow(t *testing.T) {
	srv := natstest.Start(t)
	nc := srv.Connect(t)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s := &stamper{}
	f := New(Options{JetStream: js, Stamper: s, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	s.epoch.Store(7) // TICKS is made only now
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: subject.StreamTicks, Subjects: []string{subject.TicksAll}}); err != nil {
		t.Fatal(err)
	}
	stored := func(seq uint64) bool {
		answer := make(chan bool, 1)
		f.Wait("BTC-USD", at(seq), func(ok bool) { answer <- ok })
		return <-answer
	}
	natstest.Eventually(t, patience, func() bool { publish(js, at(1)); return stored(1) }, "a tick stands")

	// One that is lost on its way is published again, and stands then.
	s.mu.Lock()
	s.js = js
	s.mu.Unlock()
	s.stamp(at(2), time.Now())
	natstest.Eventually(t, patience, func() bool { return stored(2) }, "a lost one stands")
	n := s.published()
	if n == 0 || f.Again() != int64(n) {
		t.Errorf("published again %d times, counted %d", n, f.Again())
	}
	if stored(3) {
		t.Error("what was never published stands")
	}
	if s.published() != n {
		t.Error("published again what stands")
	}

	// A stream that is made anew counts from 1 again.
	for seq := range uint64(20) {
		publish(js, at(10+seq))
	}
	if err := js.DeleteStream(t.Context(), subject.StreamTicks); err != nil {
		t.Fatal(err)
	}
	natstest.Made(t, func() (jetstream.Stream, error) {
		return js.CreateStream(t.Context(), jetstream.StreamConfig{Name: subject.StreamTicks, Subjects: []string{subject.TicksAll}})
	})
	s.stamp(at(40), time.Now())
	natstest.Eventually(t, patience, func() bool { return stored(40) }, "a tick of the new stream stands")
}

// What came to stand before it listened, in the moment after an epoch has begun, is not published again, and who waits for
// it is told.
func TestKnowsWhatStoodBefore(t *testing.T) {
	srv := natstest.Start(t)
	js, err := jetstream.New(srv.Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: subject.StreamTicks, Subjects: []string{subject.TicksAll}}); err != nil {
		t.Fatal(err)
	}
	publish(js, tick.Position{Epoch: 6, Seq: 9}) // of the epoch before
	s := &stamper{}
	f := New(Options{JetStream: js, Stamper: s, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	f.From(2)
	s.epoch.Store(7)
	for seq := range uint64(3) {
		publish(js, at(seq+1))
	}
	s.stamp(at(3), time.Now().Add(-due)) // it is due as soon as somebody looks
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	stored := make(chan bool, 1)
	f.Wait("BTC-USD", at(1), func(ok bool) { stored <- ok })
	if !<-stored {
		t.Error("a tick that stood before it listened is not known to stand")
	}
	s.stamp(at(4), time.Now().Add(-due)) // and this one never came to stand: it looks
	natstest.Eventually(t, patience, func() bool { return s.published() > 0 }, "a lost tick is published again")
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.again[0] != at(4) {
		t.Errorf("%v stood and was published again", s.again)
	}
}

// mute is a JetStream that does not answer.
type mute struct{ jetstream.JetStream }

func (mute) CreateConsumer(ctx context.Context, _ string, _ jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// Who waits is told in time, also while JetStream is away.
func TestWaitEndsWhileJetStreamIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stamper{}
		s.epoch.Store(7)
		f := New(Options{JetStream: mute{}, Stamper: s, Log: slog.New(slog.DiscardHandler), Now: time.Now})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- f.Run(ctx) }()
		for range 5 {
			asked, answer := time.Now(), make(chan bool)
			f.Wait("BTC-USD", at(1), func(ok bool) { answer <- ok })
			if stored, took := <-answer, time.Since(asked); stored || took > WaitTime+expireEvery {
				t.Errorf("stored %t after %s, want false within %s", stored, took, WaitTime+expireEvery)
			}
			time.Sleep(100 * time.Millisecond)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Run ends at once, also when TICKS is gone and cannot be followed any more.
func TestStopWhileTicksIsGone(t *testing.T) {
	srv := natstest.Start(t)
	cable := natstest.NewCable(t, srv.URL())
	nc, err := bus.Connect(t.Context(), bus.Options{URL: cable.URL(), Name: "test", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	watch := srv.Connect(t)
	js, err := jetstream.New(watch)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: subject.StreamTicks, Subjects: []string{subject.TicksAll}}); err != nil {
		t.Fatal(err)
	}
	asked, err := watch.SubscribeSync("$JS.API.CONSUMER.CREATE.TICKS.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := watch.Flush(); err != nil {
		t.Fatal(err)
	}
	cut, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s := &stamper{}
	s.epoch.Store(7)
	f := New(Options{JetStream: cut, Stamper: s, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.Run(ctx) }()
	next := func() {
		t.Helper()
		if _, err := asked.NextMsg(patience); err != nil {
			t.Fatal(err)
		}
	}
	next()
	if err := js.DeleteStream(t.Context(), subject.StreamTicks); err != nil {
		t.Fatal(err)
	}
	cable.Cut()
	cable.Mend()
	for range 3 { // nats.go's own consumer then waits twice as long each time
		next()
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(2 * time.Second):
		t.Error("Run goes on 2 s after its context ended")
		<-done
	}
}
