package stamp

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

// recorder is a Publisher that can refuse.
type recorder struct {
	err   error
	ticks []tick.Tick
	beats []tick.BeatMsg
}

func (r *recorder) Publish(subj string, data []byte) error {
	if r.err != nil {
		return r.err
	}
	if subj == subject.Beat {
		b, err := tick.DecodeBeat(data)
		r.beats = append(r.beats, b)
		return err
	}
	t, err := tick.Decode(data)
	if err == nil && subj != subject.Ticks(t.Symbol) {
		err = errors.New("tick of " + string(t.Symbol) + " on " + subj)
	}
	r.ticks = append(r.ticks, t)
	return err
}

func (r *recorder) PublishMsg(m *nats.Msg) error { return r.Publish(m.Subject, m.Data) }

var start = time.Unix(1_763_769_600, 0)

func quote(price string) tick.Quote {
	return tick.Quote{Price: tick.MustDecimal(price), TS: start.UnixMicro() - 5}
}

func TestStamp(t *testing.T) {
	now := start
	pub := &recorder{}
	s := New(pub, 10, func() time.Time { return now })
	if _, err := s.Stamp("BTC-USD", quote("1"), nil); !errors.Is(err, ErrInactive) {
		t.Fatalf("before Begin: %v, want ErrInactive", err)
	}
	s.Keep(start.Add(6 * time.Second))
	s.Begin(7, map[subject.Symbol]tick.Position{"BTC-USD": {Epoch: 5, Seq: 99}})

	for _, price := range []string{"64123.50", "64123.50", "64123.51"} { // an unchanged price is a tick too
		if _, err := s.Stamp("BTC-USD", quote(price), nil); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(time.Second)
	pos, err := s.Stamp("ETH-USD", quote("3000"), nil)
	if err != nil || pos != (tick.Position{Epoch: 7, Seq: 1}) {
		t.Fatalf("ETH-USD: %v %v", pos, err)
	}
	want := []tick.Tick{
		{Symbol: "BTC-USD", Position: tick.Position{Epoch: 7, Seq: 1}, Prev: tick.Position{Epoch: 5, Seq: 99}, At: start.UnixMicro(), Quote: quote("64123.50")},
		{Symbol: "BTC-USD", Position: tick.Position{Epoch: 7, Seq: 2}, At: start.UnixMicro(), Quote: quote("64123.50")},
		{Symbol: "BTC-USD", Position: tick.Position{Epoch: 7, Seq: 3}, At: start.UnixMicro(), Quote: quote("64123.51")},
		{Symbol: "ETH-USD", Position: tick.Position{Epoch: 7, Seq: 1}, At: now.UnixMicro(), Quote: quote("3000")},
	}
	for i, w := range want {
		if pub.ticks[i] != w {
			t.Errorf("tick %d:\n got %+v\nwant %+v", i, pub.ticks[i], w)
		}
	}
	if err := s.Beat(); err != nil {
		t.Fatal(err)
	}
	if b := pub.beats[len(pub.beats)-1]; b != (tick.BeatMsg{Epoch: 7, Count: 4, Time: now.UnixMicro()}) {
		t.Errorf("beat %+v", b)
	}
	if s.Symbols() != 2 || s.Epoch() != 7 {
		t.Errorf("%d symbols in epoch %d, want 2 in 7", s.Symbols(), s.Epoch())
	}
}

func TestAgain(t *testing.T) {
	now := start
	pub := &recorder{}
	s := New(pub, 10, func() time.Time { return now })
	s.Keep(start.Add(6 * time.Second))
	s.Begin(7, map[subject.Symbol]tick.Position{"OLD-USD": {Epoch: 5, Seq: 99}})
	newest := func() map[subject.Symbol]tick.Position {
		all := map[subject.Symbol]tick.Position{}
		s.Newest(func(sym subject.Symbol, p tick.Position, at int64) {
			if at != start.UnixMicro() {
				t.Errorf("%s stamped at %d", sym, at)
			}
			all[sym] = p
		})
		return all
	}
	for range 2 {
		if _, err := s.Stamp("BTC-USD", quote("1"), nil); err != nil {
			t.Fatal(err)
		}
	}
	last := tick.Position{Epoch: 7, Seq: 2}
	if got := newest(); len(got) != 1 || got["BTC-USD"] != last {
		t.Errorf("newest %v", got)
	}
	if !s.Again("BTC-USD", last) || s.Again("BTC-USD", tick.Position{Epoch: 7, Seq: 1}) || s.Again("OLD-USD", tick.Position{}) || s.Again("X", last) {
		t.Error("the newest, and it alone, is published again")
	}
	if len(pub.ticks) != 3 {
		t.Fatalf("%d ticks", len(pub.ticks))
	}
	want := pub.ticks[1]
	want.Again = true
	if pub.ticks[2] != want {
		t.Errorf("again: %+v, want %+v", pub.ticks[2], want)
	}
	_ = s.Beat()
	if b := pub.beats[len(pub.beats)-1]; b.Count != 2 {
		t.Errorf("beat counts %d, want 2", b.Count)
	}
	now = start.Add(time.Minute) // paused
	if s.Again("BTC-USD", last) || len(newest()) != 0 {
		t.Error("published again after a pause")
	}
}

func TestBeginBeatsAtOnce(t *testing.T) {
	pub := &recorder{}
	s := New(pub, 1, func() time.Time { return start })
	s.Keep(start)
	s.Begin(3, nil)
	if len(pub.beats) != 1 || pub.beats[0].Epoch != 3 || pub.beats[0].Count != 0 {
		t.Fatalf("beats %+v, want one of epoch 3 with count 0", pub.beats)
	}
	s.End()
	if err := s.Beat(); err != nil || len(pub.beats) != 1 {
		t.Fatalf("a beat after End")
	}
}

func TestRefusedPublishUsesNoSeq(t *testing.T) {
	pub := &recorder{}
	s := New(pub, 1, func() time.Time { return start })
	s.Keep(start)
	s.Begin(1, nil)
	pub.err = nats.ErrReconnectBufExceeded
	_, err := s.Stamp("BTC-USD", quote("1"), nil)
	if code.Of(err).Code != code.Unavailable {
		t.Fatalf("got %v, want %s", err, code.Unavailable)
	}
	if s.Symbols() != 0 {
		t.Fatal("a symbol without a tick was counted in")
	}
	pub.err = nil
	if pos, err := s.Stamp("BTC-USD", quote("1"), nil); err != nil || pos.Seq != 1 {
		t.Fatalf("got %v %v, want seq 1", pos, err)
	}
	_ = s.Beat()
	if b := pub.beats[len(pub.beats)-1]; b.Count != 1 {
		t.Fatalf("beat counts %d, want 1", b.Count)
	}
}

func TestSymbolLimit(t *testing.T) {
	s := New(&recorder{}, 2, func() time.Time { return start })
	s.Keep(start)
	s.Begin(1, map[subject.Symbol]tick.Position{"OLD-USD": {Epoch: 1, Seq: 1}})
	if _, err := s.Stamp("A", quote("1"), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Stamp("B", quote("1"), nil); code.Of(err).Code != code.TooManySymbols {
		t.Fatalf("a third symbol: %v, want %s", err, code.TooManySymbols)
	}
	for _, known := range []subject.Symbol{"A", "OLD-USD"} {
		if _, err := s.Stamp(known, quote("1"), nil); err != nil {
			t.Errorf("%s: %v", known, err)
		}
	}
}

func TestPauseStopsStampingByItself(t *testing.T) {
	now := start
	pub := &recorder{}
	s := New(pub, 1, func() time.Time { return now })
	s.Keep(start.Add(6 * time.Second))
	s.Begin(1, nil)
	now = start.Add(6*time.Second + 1)
	if _, err := s.Stamp("BTC-USD", quote("1"), nil); !errors.Is(err, ErrInactive) {
		t.Fatalf("after the time: %v, want ErrInactive", err)
	}
	beats := len(pub.beats)
	if _ = s.Beat(); len(pub.beats) != beats {
		t.Fatal("a beat after the time")
	}
	s.Keep(now.Add(time.Second))
	if pos, err := s.Stamp("BTC-USD", quote("1"), nil); err != nil || pos.Seq != 1 {
		t.Fatalf("kept again: %v %v", pos, err)
	}
}

func TestSecondEpochOfOneProcess(t *testing.T) {
	pub := &recorder{}
	s := New(pub, 9, func() time.Time { return start })
	s.Keep(start)
	s.Begin(1, nil)
	for _, sym := range []subject.Symbol{"A", "A", "B"} {
		if _, err := s.Stamp(sym, quote("1"), nil); err != nil {
			t.Fatal(err)
		}
	}
	s.End()
	s.Keep(start)
	// TICKS has a later tick of A, another ingest's, and never got B's.
	s.Begin(5, map[subject.Symbol]tick.Position{"A": {Epoch: 3, Seq: 8}})
	for _, sym := range []subject.Symbol{"A", "B"} {
		if _, err := s.Stamp(sym, quote("1"), nil); err != nil {
			t.Fatal(err)
		}
	}
	a, b := pub.ticks[3], pub.ticks[4]
	if a.Position != (tick.Position{Epoch: 5, Seq: 1}) || a.Prev != (tick.Position{Epoch: 3, Seq: 8}) {
		t.Errorf("A: %v after %v", a.Position, a.Prev)
	}
	if b.Position != (tick.Position{Epoch: 5, Seq: 1}) || b.Prev != (tick.Position{Epoch: 1, Seq: 1}) {
		t.Errorf("B: %v after %v", b.Position, b.Prev)
	}
}

type discard struct{}

func (discard) Publish(string, []byte) error { return nil }
func (discard) PublishMsg(*nats.Msg) error   { return nil }

func TestStampAllocatesNothing(t *testing.T) {
	s := New(discard{}, 1, func() time.Time { return start })
	s.Keep(start)
	s.Begin(1, nil)
	q := quote("64123.51")
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := s.Stamp("BTC-USD", q, nil); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a tick, want none", n)
	}
}

func BenchmarkStamp(b *testing.B) {
	s := New(discard{}, 1, time.Now)
	s.Keep(time.Now().Add(time.Hour))
	s.Begin(1, nil)
	q := quote("64123.51")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Stamp("BTC-USD", q, nil); err != nil {
			b.Fatal(err)
		}
	}
}
