package bucket

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

// bareCompact is Compact with two bytes of length as frames.
type bareCompact struct{ bare }

const lengthBytes = 2

func (bareCompact) Index() int { return int(session.Compact) }
func (bareCompact) AppendTick([]byte, *tick.Tick) []byte {
	panic("a tick of Compact has a number")
}
func (d bareCompact) AppendMessage(dst []byte, m *session.Message) []byte {
	return d.frame(dst, m.Append(session.Compact, nil))
}
func (d bareCompact) AppendFull(dst []byte, number uint32, t *tick.Tick, g session.Digits) []byte {
	return d.frame(dst, session.AppendFull(nil, number, t, g))
}
func (d bareCompact) AppendChanged(dst []byte, number uint32, before, t *tick.Tick, g session.Digits) []byte {
	return d.frame(dst, session.AppendChanged(nil, number, before, t, g))
}
func (bareCompact) frame(dst, p []byte) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(p))), p...)
}
func (bareCompact) Join(dst []byte, at int, frame []byte) ([]byte, bool) {
	n := binary.BigEndian.Uint16(dst[at:]) + binary.BigEndian.Uint16(frame)
	if n > 40 { // so that some are joined and some not
		return dst, false
	}
	binary.BigEndian.PutUint16(dst[at:], n)
	return append(dst, frame[lengthBytes:]...), true
}

// history is what was published of each symbol; seq 1 is the first.
type history map[subject.Symbol][]tick.Tick

// next publishes a tick that differs from the one before as a market's do: some fields move, some come, go or change
// their number of digits.
func (h history) next(rng *rand.Rand, s subject.Symbol) tick.Tick {
	t := tick.Tick{Symbol: s, Position: tick.Position{Epoch: 1}, Quote: tick.Quote{Price: tick.MustDecimal("64123.50"), TS: 1763769600123456}}
	if n := len(h[s]); n > 0 {
		t = h[s][n-1]
	}
	t.Seq++
	t.TS += rng.Int64N(20000)
	for i, d := range t.Fields() {
		switch rng.IntN(40) {
		case 0, 1, 2, 3, 4, 5:
			*d = tick.NewDecimal(d.Coef()+rng.Uint64N(100)+1, d.Scale())
		case 6:
			*d = tick.NewDecimal(d.Coef()*10, min(d.Scale()+1, tick.MaxFraction))
		case 7:
			*d = tick.NewDecimal(rng.Uint64N(1e9)+1, rng.IntN(5))
		case 8:
			if i > 0 {
				*d = 0
			}
		}
		if d.Coef() > 1e15 {
			*d = tick.NewDecimal(1, 0)
		}
	}
	h[s] = append(h[s], t)
	return t
}

// viewer is a client: it decodes what its outlet took and holds it against what was published.
type viewer struct {
	t         *testing.T
	published history
	compact   bool
	decoder   session.Decoder
	seen      int // frames of the outlet that are read
	asked     []session.Mode
	mode      map[subject.Symbol]session.Mode
	last      map[subject.Symbol]uint64
	first     map[subject.Symbol]bool // nothing came since it was subscribed
	ticks     []tick.Tick
	bytes     int // of ticks
	gaps      int
}

func newViewer(t *testing.T, h history, compact bool) *viewer {
	return &viewer{t: t, published: h, compact: compact, mode: map[subject.Symbol]session.Mode{},
		last: map[subject.Symbol]uint64{}, first: map[subject.Symbol]bool{}}
}

func (v *viewer) dialect() Dialect {
	if v.compact {
		return bareCompact{}
	}
	return bare{}
}

// asks gives the id of a subscribe.
func (v *viewer) asks(m session.Mode) *int64 {
	id := int64(len(v.asked))
	v.asked = append(v.asked, m)
	return &id
}

func (v *viewer) read(o *outlet) {
	v.t.Helper()
	for ; v.seen < len(o.took); v.seen++ {
		if p := []byte(o.took[v.seen]); v.compact {
			for len(p) > 0 {
				end := lengthBytes + int(binary.BigEndian.Uint16(p))
				v.message(p[lengthBytes:end])
				p = p[end:]
			}
		} else {
			for line := range splitLines(string(p)) {
				v.message([]byte(line))
			}
		}
	}
}

func (v *viewer) message(p []byte) {
	v.t.Helper()
	if v.compact && session.IsTicks(p) {
		v.bytes += len(p)
		for len(p) > 0 {
			tk, rest, err := v.decoder.Next(p)
			if err != nil {
				v.t.Fatalf("%x: %v", p, err)
			}
			v.tick(tk)
			p = rest
		}
		return
	}
	f := session.JSON
	if v.compact {
		f = session.Compact
	}
	m, err := session.DecodeMessage(f, p)
	if err != nil {
		v.t.Fatal(err)
	}
	switch m.Op {
	case session.OpTick:
		v.bytes += len(p)
		v.tick(&tick.Tick{Symbol: m.Symbol, Position: tick.Position{Epoch: m.Epoch, Seq: m.Seq}, Quote: m.Quote()})
	case session.OpSubscribed:
		if v.compact {
			if err := v.decoder.Subscribed(&m); err != nil {
				v.t.Fatal(err)
			}
		}
		for _, s := range m.Symbols {
			v.mode[s], v.first[s] = v.asked[*m.ID], true
		}
	case session.OpUnsubscribed:
		v.decoder.Unsubscribed(&m)
	case session.OpGap:
		v.gaps++
		v.last[m.Symbol] = m.To
	default:
		v.t.Fatalf("%+v", m)
	}
}

func (v *viewer) tick(tk *tick.Tick) {
	v.t.Helper()
	s, last := tk.Symbol, v.last[tk.Symbol]
	switch {
	case tk.Seq == 0 || tk.Seq > uint64(len(v.published[s])):
		v.t.Fatalf("%s: seq %d was never published", s, tk.Seq)
	case v.first[s] && tk.Seq < last, !v.first[s] && tk.Seq <= last:
		v.t.Fatalf("%s goes back from %d to %d", s, last, tk.Seq)
	case v.mode[s] == session.Every && !v.first[s] && tk.Seq != last+1:
		v.t.Fatalf("%s: %d after %d in mode every", s, tk.Seq, last)
	}
	if want := &v.published[s][tk.Seq-1]; tk.Position != want.Position || tk.Quote != want.Quote {
		v.t.Fatalf("compact %v: got  %s\nwant %s", v.compact, session.AppendTickJSON(nil, tk), session.AppendTickJSON(nil, want))
	}
	v.first[s], v.last[s] = false, tk.Seq
	v.ticks = append(v.ticks, *tk)
}

// Two clients that ask for the same over sockets that refuse at the same times see the same ticks, one in JSON, the other
// in Compact.
func TestCompactSeesWhatJSONSees(t *testing.T) {
	for round := range 10 {
		rng := rand.New(rand.NewPCG(uint64(round), 2))
		b := bench(5 * time.Millisecond)
		published := history{}
		var topics []*topic
		for _, s := range symbols("S", 10) {
			topics = append(topics, live(b, s, control.Every))
		}
		refuse := false
		take := func() int {
			if refuse {
				return 0
			}
			return 1 << 20
		}
		var views [2]*viewer
		var outs [2]*outlet
		var sessions [2]*Session
		for i := range views {
			views[i], outs[i] = newViewer(t, published, i == 1), &outlet{take: take}
			sessions[i] = joinAs(b, outs[i], views[i].dialect())
			sessions[i].plain.phase = 0
		}
		now := int64(time.Hour)
		for range 3000 {
			switch n := rng.IntN(100); {
			case n < 5:
				var syms []subject.Symbol
				for _, i := range rng.Perm(len(topics))[:1+rng.IntN(5)] {
					syms = append(syms, topics[i].symbol)
				}
				op, mode := session.OpSubscribe, session.Mode(rng.IntN(2))
				if rng.IntN(4) == 0 {
					op = session.OpUnsubscribe
				}
				for i, s := range sessions {
					request(b, s, now, session.Request{Op: op, ID: views[i].asks(mode), Symbols: syms, Mode: mode})
				}
			default:
				tk := published.next(rng, topics[rng.IntN(len(topics))].symbol)
				b.take(b.topics[tk.Symbol], &tk, now)
			}
			if refuse = rng.IntN(5) == 0; !refuse {
				for i, s := range sessions {
					if outs[i].refused {
						outs[i].refused = false
						b.unblock(s, now)
					}
				}
			}
			now += rng.Int64N(int64(2 * time.Millisecond))
			b.wheel.fire(now, b.fired)
			b.flushDue(now)
			for i, v := range views {
				v.read(outs[i])
			}
		}
		if a, c := views[0].ticks, views[1].ticks; len(a) != len(c) || len(a) < 500 {
			t.Fatalf("round %d: %d ticks in JSON, %d in Compact", round, len(a), len(c))
		}
		for i := range views[0].ticks {
			if a, c := views[0].ticks[i], views[1].ticks[i]; a != c {
				t.Fatalf("round %d, tick %d: %+v in JSON, %+v in Compact", round, i, a, c)
			}
		}
	}
}

// Whatever a connection was sent last, it gets a changed form as long as that is kept, and never one against another tick.
func TestChangedFormOfConflatedTicks(t *testing.T) {
	b := bench(20 * time.Millisecond)
	u := live(b, "X", control.Latest)
	rng := rand.New(rand.NewPCG(3, 3))
	published := history{}
	var views []*viewer
	var outs []*outlet
	now := int64(time.Hour)
	x := tick.Tick{Symbol: "X", Position: tick.Position{Epoch: 1}, Quote: tick.Quote{Price: tick.MustDecimal("64123.51"), Bid: tick.MustDecimal("64123.50")}}
	publish := func() {
		x.Seq++
		x.Price = tick.NewDecimal(6412351+rng.Uint64N(9), 2)
		x.TS = now / 1000
		published["X"] = append(published["X"], x)
		b.take(u, &x, now)
	}
	publish()
	for range 50 {
		views, outs = append(views, newViewer(t, published, true)), append(outs, &outlet{})
		v, o := views[len(views)-1], outs[len(outs)-1]
		s := joinAs(b, o, v.dialect())
		request(b, s, now, session.Request{Op: session.OpSubscribe, ID: v.asks(session.Latest), Symbols: []subject.Symbol{"X"}})
	}
	for range 5000 {
		publish()
		b.wheel.fire(now, b.fired)
		b.flushDue(now)
		now += int64(time.Millisecond)
	}
	ticks, size := 0, 0
	for i, v := range views {
		v.read(outs[i])
		ticks += len(v.ticks)
		size += v.bytes
	}
	if ticks < 50*200 || ticks > 50*400 || size > ticks*8 {
		t.Errorf("%d ticks in %d bytes", ticks, size)
	}
	if n := len(u.compact.bases); n != maxBases {
		t.Errorf("%d bases after a second of 1,000 ticks, want %d", n, maxBases)
	}
	for range 4 * maxBases {
		now += int64(100 * time.Millisecond)
		publish()
		b.wheel.fire(now, b.fired)
		b.flushDue(now)
	}
	if n := len(u.compact.bases); n > 8 {
		t.Errorf("%d bases are kept for 10 ticks a second", n)
	}
	for i, v := range views {
		v.read(outs[i])
		if v.last["X"] != x.Seq {
			t.Errorf("viewer %d ends on %d of %d", i, v.last["X"], x.Seq)
		}
	}
}

// A gap that is told amid a write does not come between ticks that share a message.
func TestCompactGapWithinAWrite(t *testing.T) {
	b := bench(0)
	u := live(b, "X", control.Every)
	var ticks []tick.Tick
	for seq := range uint64(7) {
		ticks = append(ticks, tick.Tick{Symbol: "X", Position: tick.Position{Epoch: 1, Seq: seq + 1}, Quote: tick.Quote{Price: tick.NewDecimal(seq+1, 2)}})
	}
	published := history{"X": ticks}
	now := int64(time.Hour)
	b.take(u, &ticks[0], now)
	first, o, v := &outlet{}, &outlet{}, newViewer(t, published, true)
	s := joinAs(b, o, v.dialect())
	request(b, join(b, first), now, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"X"}, Mode: session.Every})
	request(b, s, now, session.Request{Op: session.OpSubscribe, ID: v.asks(session.Every), Symbols: []subject.Symbol{"X"}, Mode: session.Every})
	s.blocked = true
	for _, i := range []int{1, 2, 4, 5, 6} {
		b.take(u, &ticks[i], now)
	}
	for end := now + int64(holeWait+fillTime+time.Second); now < end; now += int64(fillAgain) {
		b.feed.holes.check(b, now)
		b.flushDue(now) // the other reader opens the hole, and nobody answers
	}
	writes := o.writes
	b.unblock(s, now)
	v.read(o)
	if v.gaps != 1 || v.last["X"] != 7 || o.writes != writes+1 {
		t.Errorf("%d gaps, ends on %d, %d writes", v.gaps, v.last["X"], o.writes-writes)
	}
}

// A hole that is filled when one reader has been told of it and another has not come there yet: each gets a form that
// fits what it was sent.
func TestCompactHoleFilledBetweenReaders(t *testing.T) {
	b := bench(0)
	u := live(b, "X", control.Every)
	published := history{}
	for seq := range uint64(4) {
		published["X"] = append(published["X"], tick.Tick{Symbol: "X", Position: tick.Position{Epoch: 1, Seq: seq + 1},
			Quote: tick.Quote{Price: tick.NewDecimal(6412351+seq*seq, 2), TS: 1763769600123456 + int64(seq*seq)}})
	}
	now := int64(time.Hour)
	take := func(seq uint64) { b.take(u, &published["X"][seq-1], now) }
	take(1)
	var views [2]*viewer
	var outs [2]*outlet
	var sessions [2]*Session
	for i := range views {
		views[i], outs[i] = newViewer(t, published, true), &outlet{}
		sessions[i] = joinAs(b, outs[i], views[i].dialect())
		request(b, sessions[i], now, session.Request{Op: session.OpSubscribe, ID: views[i].asks(session.Every), Symbols: []subject.Symbol{"X"}, Mode: session.Every})
	}
	sessions[1].blocked = true
	take(3)
	now += int64(holeWait)
	b.mark(&sessions[0].plain, 0, now)
	b.flushDue(now)
	b.feed.holes.check(b, now)
	none := tick.NewestAnswer{Last: true, Lack: tick.Gone}
	b.feed.holes.answered(b, message(none.Append(nil)), b.feed.holes.id, now)
	b.flushDue(now)
	take(2)
	take(4)
	b.flushDue(now)
	b.unblock(sessions[1], now)
	for i, want := range []struct{ ticks, gaps int }{{3, 1}, {4, 0}} {
		views[i].read(outs[i])
		if len(views[i].ticks) != want.ticks || views[i].gaps != want.gaps {
			t.Errorf("reader %d: %d ticks, %d gaps, want %+v", i, len(views[i].ticks), views[i].gaps, want)
		}
	}
}

func TestNumbersAreUsedAgain(t *testing.T) {
	b := bench(0)
	number := func(s subject.Symbol) uint32 { return b.number(b.topic(s)) }
	if x, y, z := number("X"), number("Y"), number("Z"); x != 1 || y != 2 || z != 3 || number("Y") != 2 {
		t.Errorf("numbers %d, %d, %d", x, y, z)
	}
	b.leave(b.topics["Y"], 0)
	b.sweepTopics(int64(2 * remember))
	if b.topics["Y"] != nil {
		t.Fatal("the topic stays")
	}
	if a, c := number("A"), number("C"); a != 2 || c != 4 {
		t.Errorf("numbers %d, %d", a, c)
	}
}

// A tick costs no allocation in Compact either.
func TestCompactTickDoesNotAllocate(t *testing.T) {
	b := bench(0)
	u := live(b, "X", control.Latest)
	for range 1000 {
		request(b, joinAs(b, silent{}, bareCompactReady{}), 0, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"X"}})
	}
	tk := tick.Tick{Symbol: "X", Position: tick.Position{Epoch: 1}, Quote: tick.Quote{Price: tick.MustDecimal("64123.51")}}
	round := func() {
		tk.Seq++
		tk.Price = tick.NewDecimal(6412351+tk.Seq, 2)
		b.take(u, &tk, 1)
		b.flushDue(1)
	}
	for range 2 * maxBases { // the last ones are kept in memory that is made once
		round()
	}
	before := b.o.Stats.Deliveries.Load()
	if n := testing.AllocsPerRun(100, round); n != 0 {
		t.Errorf("%v allocations a tick for 1,000 subscribers", n)
	}
	if got := b.o.Stats.Deliveries.Load() - before; got < 100*1000 {
		t.Errorf("%d deliveries", got)
	}
}

// bareCompactReady appends without a buffer of its own.
type bareCompactReady struct{ bareCompact }

func (bareCompactReady) AppendFull(dst []byte, number uint32, t *tick.Tick, g session.Digits) []byte {
	return session.AppendFull(append(dst, 0, 0), number, t, g)
}
func (bareCompactReady) AppendChanged(dst []byte, number uint32, before, t *tick.Tick, g session.Digits) []byte {
	return session.AppendChanged(append(dst, 0, 0), number, before, t, g)
}

func BenchmarkTickCompact(b *testing.B) {
	for _, n := range []int{1, 1000, 10000} {
		b.Run(fmt.Sprintf("subscribers=%d", n), func(b *testing.B) {
			k := bench(0)
			u := live(k, "X", control.Latest)
			for range n {
				request(k, joinAs(k, silent{}, bareCompactReady{}), 0, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"X"}})
			}
			tk := tick.Tick{Symbol: "X", Position: tick.Position{Epoch: 1}, Quote: tick.Quote{Price: tick.MustDecimal("64123.51")}}
			b.ReportAllocs()
			for b.Loop() {
				tk.Seq++
				k.take(u, &tk, 1)
				k.flushDue(1)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/delivery")
		})
	}
}
