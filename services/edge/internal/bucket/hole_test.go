package bucket

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

// market is one symbol as it was published, and what a bucket and the history have of it.
type market struct {
	t      *topic
	all    []tick.Tick // in order
	stored int         // of them, the last so many are in the history
	lost   map[tick.Position]bool
	late   []tick.Tick // on their way
}

func (m *market) publish(rng *rand.Rand) {
	tk := tick.Tick{Symbol: m.t.symbol, Position: tick.Position{Epoch: 1, Seq: 1}, Quote: tick.Quote{Price: tick.MustDecimal("1.5"), TS: 1}}
	if n := len(m.all); n > 0 {
		last := m.all[n-1].Position
		tk.Epoch, tk.Seq = last.Epoch, last.Seq+1
		if rng.IntN(150) == 0 {
			tk.Epoch, tk.Seq, tk.Prev = last.Epoch+1+rng.Uint64N(2), 1, last
		}
	}
	m.all = append(m.all, tk)
	if rng.IntN(100) == 0 {
		m.lost[tk.Position] = true
	}
	if rng.IntN(10) > 0 {
		m.late = append(m.late, tk)
	}
}

// arrive has some of what is on its way reach the bucket: mostly in order, mostly at once.
func (m *market) arrive(b *Bucket, rng *rand.Rand, now int64) {
	for len(m.late) > 0 && rng.IntN(8) > 0 {
		i := 0
		if rng.IntN(6) == 0 {
			i = rng.IntN(len(m.late))
		}
		tk := m.late[i]
		m.late = slices.Delete(m.late, i, i+1)
		b.take(m.t, &tk, now)
		if rng.IntN(20) == 0 {
			b.take(m.t, &tk, now)
		}
	}
}

// answer is what a router says of a range, in messages.
func (m *market) answer(g tick.Range, rng *rand.Rand) (messages [][]byte) {
	var have [][]byte
	for _, tk := range m.all[max(0, len(m.all)-m.stored):] {
		if g.Holds(tk.Position) && !m.lost[tk.Position] {
			have = append(have, tk.Append(nil))
		}
	}
	lack := tick.Nothing
	if uint64(len(have)) < g.Len() {
		lack = tick.Gone
	}
	switch rng.IntN(10) {
	case 0:
		have, lack = have[:rng.IntN(len(have)+1)], tick.Refused
	case 1:
		have, lack = nil, tick.Ahead
	case 2:
		return nil // never
	case 3:
		messages = append(messages, []byte("junk"))
	}
	for chunk := range slices.Chunk(have, 1+rng.IntN(100)) {
		messages = append(messages, (&tick.NewestAnswer{Ticks: chunk}).Append(nil))
	}
	return append(messages, (&tick.NewestAnswer{Last: true, Lack: lack}).Append(nil))
}

// follower checks what a reader of mode every is sent: each tick once, in order, or told as missing.
type follower struct {
	t     *testing.T
	m     *market
	s     *Session
	o     *outlet
	read  int
	at    tick.Position // zero: not known before the first tick
	told  []gap
	ticks int
	gaps  int
}

func (f *follower) check() {
	f.t.Helper()
	for ; f.read < len(f.o.took); f.read++ {
		for line := range splitLines(f.o.took[f.read]) {
			msg, err := session.DecodeMessage(session.JSON, []byte(line))
			if err != nil {
				f.t.Fatal(err)
			}
			switch msg.Op {
			case session.OpGap:
				f.gaps++
				f.told = append(f.told, gap{msg.Epoch, msg.From, msg.To})
				if n := msg.To - msg.From + 1; (msg.URL != "") && (msg.To == 0 || n > tick.MaxRange) {
					f.t.Fatalf("%s: a url that HTTP refuses", line)
				}
			case session.OpTick:
				f.ticks++
				f.tick(tick.Position{Epoch: msg.Epoch, Seq: msg.Seq})
			}
		}
	}
}

func (f *follower) tick(p tick.Position) {
	f.t.Helper()
	if !p.After(f.at) {
		f.t.Fatalf("%v after %v", p, f.at)
	}
	for _, g := range f.told {
		first, last := tick.Position{Epoch: g.Epoch, Seq: g.From}, tick.Position{Epoch: g.Epoch, Seq: g.To}
		if !first.After(f.at) || !p.After(last) || g.To > 0 && g.To < g.From {
			f.t.Fatalf("gap %+v between %v and %v", g, f.at, p)
		}
	}
	if f.at != (tick.Position{}) {
		from, _ := slices.BinarySearchFunc(f.m.all, f.at, func(tk tick.Tick, p tick.Position) int {
			if tk.After(p) {
				return 1
			}
			return -1
		})
		for _, tk := range f.m.all[from:] {
			if !p.After(tk.Position) {
				break
			}
			if !slices.ContainsFunc(f.told, func(g gap) bool {
				// Without an end: to the end of the epoch, and of those up to the next that is told of.
				return g.Epoch == tk.Epoch && tk.Seq >= g.From && (g.To == 0 || tk.Seq <= g.To) || g.To == 0 && tk.Epoch > g.Epoch && tk.Epoch < p.Epoch
			}) {
				f.t.Fatalf("%v is missing untold between %v and %v; told: %+v", tk.Position, f.at, p, f.told)
			}
		}
	}
	f.at, f.told = p, nil
}

// Ticks are lost, late and doubled on their way to a bucket; routers answer in time, late, in part, wrongly or never; readers
// come with any position in hand, over sockets that refuse and cut. Each sees each tick once and in order, or is told; what
// is kept stays bounded; and in the end all are at the newest.
func TestRandomHoles(t *testing.T) {
	filled, told := int64(0), 0
	for round := range 6 {
		rng := rand.New(rand.NewPCG(uint64(round), 3))
		b := bench(time.Duration(rng.IntN(2)) * 5 * time.Millisecond)
		var markets []*market
		for i := range 3 {
			markets = append(markets, &market{t: live(b, subject.Symbol(fmt.Sprintf("S-%d", i)), control.Every),
				stored: []int{10, 200, 2000}[rng.IntN(3)], lost: map[tick.Position]bool{}})
		}
		for _, m := range markets {
			for range rng.IntN(3000) {
				m.publish(rng)
			}
			m.late = nil // before anybody here wanted it
			if n := len(m.all); n > 0 {
				b.take(m.t, &m.all[n-1], 0)
			}
		}
		now := int64(time.Hour)
		var all []*follower
		type reply struct {
			id   uint64
			at   int64
			text []byte
		}
		var replies []reply
		seen := uint64(0)
		step := func(most time.Duration) {
			now += rng.Int64N(int64(most))
			b.feed.holes.check(b, now)
			for seen < b.feed.holes.id {
				seen++
				h := b.feed.holes.asked[seen]
				at := now + rng.Int64N(int64(10*time.Millisecond))
				if rng.IntN(10) == 0 {
					at = now + rng.Int64N(int64(2*time.Second))
				}
				i := slices.IndexFunc(markets, func(m *market) bool { return m.t == h.t })
				for _, text := range markets[i].answer(h.asked, rng) {
					replies = append(replies, reply{seen, at, text})
				}
			}
			replies = slices.DeleteFunc(replies, func(r reply) bool {
				if r.at <= now {
					b.feed.holes.answered(b, message(r.text), r.id, now)
				}
				return r.at <= now
			})
			b.wheel.fire(now, b.fired)
			b.flushDue(now)
			for _, f := range all {
				if f.o.refused && rng.IntN(3) == 0 {
					f.o.refused = false
					b.unblock(f.s, now)
				}
				f.check()
			}
			for _, m := range markets {
				if r := m.t.ring; r != nil && len(r.entries) > 2*ringSize {
					t.Fatalf("%d ticks in a ring", len(r.entries))
				}
			}
			if hs := &b.feed.holes; len(hs.asked) > maxAsked || len(hs.list) > maxHoles {
				t.Fatalf("%d questions, %d holes", len(hs.asked), len(hs.list))
			}
		}
		for range 1500 {
			switch n := rng.IntN(100); {
			case n < 4:
				m := markets[rng.IntN(len(markets))]
				f := &follower{t: t, m: m, o: &outlet{take: func() int {
					if rng.IntN(4) == 0 {
						return rng.IntN(5)
					}
					return 1 << 20
				}}}
				f.s = join(b, f.o)
				req := session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{m.t.symbol}, Mode: session.Every}
				if back := rng.IntN(1500); len(m.all) > 0 && rng.IntN(5) > 0 {
					if rng.IntN(2) == 0 {
						back %= 30
					}
					f.at = m.all[max(0, len(m.all)-1-back)].Position
					if rng.IntN(20) == 0 {
						f.at = tick.Position{Epoch: 1 + rng.Uint64N(f.at.Epoch), Seq: rng.Uint64N(1000)}
					}
					if f.at.After(m.all[len(m.all)-1].Position) {
						f.at = m.all[len(m.all)-1].Position
					}
					req.After = map[subject.Symbol]tick.Position{m.t.symbol: f.at}
				}
				request(b, f.s, now, req)
				all = append(all, f)
			case n < 6 && len(all) > 5:
				i := rng.IntN(len(all))
				b.dropSession(all[i].s, now)
				all = slices.Delete(all, i, i+1)
			default:
				m := markets[rng.IntN(len(markets))]
				for range rng.IntN(6) {
					m.publish(rng)
				}
				m.arrive(b, rng, now)
			}
			step(4 * time.Millisecond)
		}
		for _, m := range markets { // the last of each comes for sure
			m.publish(rng)
			for _, tk := range append(m.late, m.all[len(m.all)-1]) {
				b.take(m.t, &tk, now)
			}
			m.late = nil
		}
		for _, f := range all {
			f.o.take = nil
		}
		for range 400 {
			step(40 * time.Millisecond)
		}
		for i, f := range all {
			if last := f.m.all[len(f.m.all)-1].Position; f.at != last {
				t.Fatalf("round %d: reader %d ends on %v, newest is %v", round, i, f.at, last)
			}
			told += f.gaps
		}
		if hs := &b.feed.holes; len(hs.asked) > 0 || len(hs.list) > 0 {
			t.Fatalf("round %d: %d questions, %d holes at the end", round, len(hs.asked), len(hs.list))
		}
		filled += b.o.Stats.Filled.Load()
	}
	if filled == 0 || told == 0 {
		t.Errorf("%d ticks filled, %d gaps told: nothing was tried", filled, told)
	}
	t.Logf("%d ticks filled, %d gaps told", filled, told)
}

// Readers of thousands of symbols who resume from far back make neither many questions at a time nor many in all, and
// each goes on within a second or so, answered or not.
func TestAbsurdPositionsAreBounded(t *testing.T) {
	b := bench(0)
	now := int64(time.Hour)
	const readers = 3 * maxHoles
	var all []*outlet
	for i := range readers {
		u := live(b, subject.Symbol(fmt.Sprintf("S-%d", i)), control.Every)
		publish(b, u, 1<<40, now)
		o := &outlet{}
		request(b, join(b, o), now, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{u.symbol}, Mode: session.Every,
			After: map[subject.Symbol]tick.Position{u.symbol: {Epoch: 1, Seq: uint64(i)}}})
		all = append(all, o)
	}
	for end := now + int64(2*time.Second); now < end; now += int64(5 * time.Millisecond) {
		b.feed.holes.check(b, now)
		b.flushDue(now)
		if hs := &b.feed.holes; len(hs.asked) > maxAsked || len(hs.list) > maxHoles {
			t.Fatalf("%d questions, %d holes", len(hs.asked), len(hs.list))
		}
	}
	if n := b.o.Stats.RangesAsked.Load(); n > 2*maxAsked {
		t.Errorf("%d questions within two seconds, none answered", n)
	}
	for i, o := range all {
		if text := strings.Join(o.took, ""); !strings.Contains(text, `"op":"gap"`) || !strings.Contains(text, fmt.Sprintf(`"seq":%d`, 1<<40)) {
			t.Fatalf("reader %d was told %q", i, o.took)
		}
	}
}

// Clients that ask for a little more each time, with routers that answer at once, have their questions bounded in time
// and the rings in size.
func TestGrowingQuestionsAreBounded(t *testing.T) {
	b := bench(0)
	now := int64(time.Hour)
	const newest, clients, turns = 1 << 20, 60, 400
	var topics []*topic
	var all []*Session
	for i := range clients {
		topics = append(topics, live(b, subject.Symbol(fmt.Sprint("X-", i)), control.Every))
		publish(b, topics[i], newest, now)
		all = append(all, join(b, silent{}))
	}
	for i := range turns {
		for k, s := range all {
			request(b, s, now, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{topics[k].symbol}, Mode: session.Every,
				After: map[subject.Symbol]tick.Position{topics[k].symbol: {Epoch: 1, Seq: uint64(newest - 2 - i)}}})
		}
		b.flushDue(now)
		now += int64(2 * time.Millisecond)
		b.feed.holes.check(b, now)
		for id, h := range b.feed.holes.asked {
			a := tick.NewestAnswer{Last: true}
			for seq := h.asked.From; seq <= h.asked.To; seq++ {
				tk := at(1, seq)
				tk.Symbol = h.t.symbol
				a.Ticks = append(a.Ticks, tk.Append(nil))
			}
			b.feed.holes.answered(b, message(a.Append(nil)), id, now)
		}
	}
	most := (int64(turns)*int64(2*time.Millisecond)/int64(askedTurn) + 1) * askedPerTurn
	if n := b.o.Stats.RangesAsked.Load(); n > most || n < most/2 {
		t.Errorf("%d questions, want %d at most, and not far fewer", n, most)
	}
	for _, u := range topics {
		if n := len(u.ring.entries); n > ringSize {
			t.Errorf("%d ticks were fetched for a ring of %d", n, ringSize)
		}
	}
}

// resumed is a bucket with one symbol, whose newest tick is 1/20, and readers who resume.
type resumed struct {
	t      *testing.T
	b      *Bucket
	u      *topic
	now    int64
	answer func(g tick.Range) *tick.NewestAnswer // nil: none
	asked  []tick.Range
}

func newResumed(t *testing.T) *resumed {
	r := &resumed{t: t, b: bench(0), now: int64(time.Hour)}
	r.u = live(r.b, "X", control.Every)
	publish(r.b, r.u, 20, r.now)
	return r
}

func (r *resumed) reader(after uint64) *outlet {
	o := &outlet{}
	request(r.b, join(r.b, o), r.now, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"X"}, Mode: session.Every,
		After: map[subject.Symbol]tick.Position{"X": {Epoch: 1, Seq: after}}})
	return o
}

// pass lets time pass.
func (r *resumed) pass(d time.Duration) {
	for end := r.now + int64(d); r.now < end; {
		r.now += int64(10 * time.Millisecond)
		before := r.b.feed.holes.id
		r.b.feed.holes.check(r.b, r.now)
		for id := before + 1; id <= r.b.feed.holes.id; id++ {
			g := r.b.feed.holes.asked[id].asked
			r.asked = append(r.asked, g)
			if a := r.answer(g); a != nil {
				r.b.feed.holes.answered(r.b, message(a.Append(nil)), id, r.now)
			}
		}
		r.b.flushDue(r.now)
	}
}

// has is an answer of routers whose history has these.
func has(seqs ...uint64) func(tick.Range) *tick.NewestAnswer {
	return func(g tick.Range) *tick.NewestAnswer {
		a := &tick.NewestAnswer{Last: true}
		for _, seq := range seqs {
			if tk := at(1, seq); g.Holds(tk.Position) {
				a.Ticks = append(a.Ticks, tk.Append(nil))
			}
		}
		if uint64(len(a.Ticks)) < g.Len() {
			a.Lack = tick.Gone
		}
		return a
	}
}

// told is what a reader got after the answer to his subscribe.
func (r *resumed) told(o *outlet) string {
	r.t.Helper()
	var told []string
	for _, frames := range o.took[1:] {
		for line := range splitLines(frames) {
			m, err := session.DecodeMessage(session.JSON, []byte(line))
			if err != nil {
				r.t.Fatal(err)
			}
			if m.Op == session.OpGap {
				told = append(told, fmt.Sprintf("gap:%d-%d", m.From, m.To))
			} else {
				told = append(told, fmt.Sprint(m.Seq))
			}
		}
	}
	return strings.Join(told, " ")
}

func (r *resumed) wants(o *outlet, want string, questions int) {
	r.t.Helper()
	if got := r.told(o); got != want {
		r.t.Errorf("told %s, want %s", got, want)
	}
	if len(r.asked) != questions {
		r.t.Errorf("asked %+v, want %d questions", r.asked, questions)
	}
}

// What the history does not have amid a range says nothing of what lies before it: who comes later with an older position
// is fetched that. Where the range's beginning is gone, so is all before it, and nobody asks.
func TestOlderPositionAfterAClosedHole(t *testing.T) {
	for _, c := range []struct {
		has  []uint64 // of what the first reader misses, 15 to 19
		want string   // what the second, at 10, is told
		more int      // questions
	}{
		{[]uint64{15, 16, 17, 18, 19}, "11 12 13 14 15 16 17 18 19 20", 1},
		{[]uint64{15, 16, 18, 19}, "11 12 13 14 15 16 gap:17-17 18 19 20", 1},
		{[]uint64{17, 18, 19}, "gap:11-16 17 18 19 20", 0},
		{nil, "gap:11-19 20", 0},
	} {
		r := newResumed(t)
		r.answer = has(append([]uint64{11, 12, 13, 14}, c.has...)...)
		r.reader(14)
		r.pass(200 * time.Millisecond)
		second := r.reader(10)
		r.pass(200 * time.Millisecond)
		r.wants(second, c.want, 1+c.more)
	}
}

// Those who come together are one question, for the one who is farthest behind.
func TestReadersShareAQuestion(t *testing.T) {
	r := newResumed(t)
	r.answer = has(11, 12, 13, 14, 15, 16, 17, 18, 19)
	a, b, c := r.reader(17), r.reader(10), r.reader(18)
	r.pass(time.Second)
	r.wants(a, "18 19 20", 1)
	r.wants(b, "11 12 13 14 15 16 17 18 19 20", 1)
	r.wants(c, "19 20", 1)
}

// What has come here will be stored, so routers that do not have it yet are asked again.
func TestAheadIsAskedAgain(t *testing.T) {
	r := newResumed(t)
	r.answer = func(g tick.Range) *tick.NewestAnswer {
		if len(r.asked) < 3 {
			return &tick.NewestAnswer{Last: true, Lack: tick.Ahead}
		}
		return has(18, 19)(g)
	}
	o := r.reader(17)
	r.pass(time.Second)
	r.wants(o, "18 19 20", 3)
}

// A router that knows nothing of ranges answers with nothing, and says of nothing that it lacks: asked once.
func TestRouterWithoutRanges(t *testing.T) {
	r := newResumed(t)
	r.answer = func(tick.Range) *tick.NewestAnswer { return &tick.NewestAnswer{Last: true} }
	o := r.reader(17)
	r.pass(2 * time.Second)
	r.wants(o, "gap:18-19 20", 1)
}

// Ticks that were not asked for are not taken.
func TestAnswerHoldsOtherTicks(t *testing.T) {
	r := newResumed(t)
	r.answer = func(g tick.Range) *tick.NewestAnswer {
		a := has(18, 19)(g)
		other := at(1, 18)
		other.Symbol = "Y"
		a.Ticks = append([][]byte{at(1, 5).Append(nil), at(2, 1).Append(nil), other.Append(nil)}, a.Ticks...)
		return a
	}
	o := r.reader(17)
	r.pass(time.Second)
	r.wants(o, "18 19 20", 1)
	if n := len(r.u.ring.entries); n != 3 {
		t.Errorf("%d ticks in the ring", n)
	}
}

// A hole that nobody answered for is asked about again some seconds later, by who then comes.
func TestUnansweredHoleIsAskedAgainLater(t *testing.T) {
	r := newResumed(t)
	r.answer = func(tick.Range) *tick.NewestAnswer { return nil }
	o := r.reader(17)
	r.pass(time.Second / 2)
	if got := r.told(o); got != "" {
		t.Errorf("told %s before an answer could come", got)
	}
	r.pass(time.Second)
	r.wants(o, "gap:18-19 20", 1)
	r.answer = has(18, 19)
	o = r.reader(17)
	r.pass(time.Second)
	r.wants(o, "gap:18-19 20", 1)
	r.pass(unanswered)
	o = r.reader(17)
	r.pass(time.Second)
	r.wants(o, "18 19 20", 2)
}

// A reader that is too slow for the ring is not fetched what fell out of it: he would only be slower.
func TestSlowReaderIsNotFilled(t *testing.T) {
	b := bench(0)
	u := live(b, "X", control.Every)
	o := &outlet{}
	s := join(b, o)
	now := int64(time.Hour)
	publish(b, u, 1, now)
	request(b, s, now, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"X"}, Mode: session.Every})
	s.blocked = true
	for seq := uint64(2); seq <= 4*ringSize; seq++ {
		publish(b, u, seq, now)
	}
	b.unblock(s, now)
	if n := len(b.feed.holes.list); n > 0 {
		t.Errorf("%d holes", n)
	}
	if text := strings.Join(o.took, ""); !strings.Contains(text, `"op":"gap"`) {
		t.Error("told no gap")
	}
}

// What lies before a symbol's readers began is nobody's hole: ticks that a router left out while the symbol was wanted in
// mode latest are not asked for.
func TestNobodysHoleIsNotAsked(t *testing.T) {
	b := bench(0)
	u := live(b, "X", control.Every)
	now := int64(time.Hour)
	u.addEvery(now)
	for seq := uint64(10); seq <= 100; seq += 10 {
		publish(b, u, seq, now)
	}
	s := join(b, &outlet{})
	request(b, s, now, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"X"}, Mode: session.Every})
	publish(b, u, 101, now)
	b.flushDue(now)
	now += int64(time.Minute)
	b.feed.holes.check(b, now)
	if n := b.o.Stats.RangesAsked.Load(); n > 0 || len(b.feed.holes.list) > 0 {
		t.Errorf("%d questions, %d holes", n, len(b.feed.holes.list))
	}
}

func TestRunBefore(t *testing.T) {
	p := func(e, s uint64) tick.Position { return tick.Position{Epoch: e, Seq: s} }
	for _, x := range []struct {
		name  string
		at    tick.Position
		t     *tick.Tick
		want  tick.Range
		known bool
	}{
		{"in an epoch", p(1, 4), at(1, 8), tick.Range{Symbol: "X", Epoch: 1, From: 5, To: 7}, true},
		{"a later epoch: its start first", p(1, 4), at(3, 8), tick.Range{Symbol: "X", Epoch: 3, From: 1, To: 7}, true},
		{"its first tick tells of the one before", p(1, 4), at(3, 1, 1, 9), tick.Range{Symbol: "X", Epoch: 1, From: 5, To: 9}, true},
		{"or of one between", p(1, 4), at(3, 1, 2, 9), tick.Range{Symbol: "X", Epoch: 2, From: 1, To: 9}, true},
		{"or of nothing", p(1, 4), at(3, 1), tick.Range{}, false},
		{"or of less than the reader has", p(2, 4), at(3, 1, 1, 9), tick.Range{}, false},
		{"or of what is not before it", p(1, 4), at(3, 1, 3, 9), tick.Range{}, false},
	} {
		got, known := runBefore(x.at, x.t)
		if known != x.known || known && got != x.want {
			t.Errorf("%s: %+v, %v", x.name, got, known)
		}
	}
}
