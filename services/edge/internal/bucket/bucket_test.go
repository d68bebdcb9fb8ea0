package bucket

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/libs/quiet"
	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
	"github.com/tickfan/tickfan/services/edge/internal/socket"
)

func TestMain(m *testing.M) { natstest.Main(m) }

// bare is a dialect without frames around it.
type bare struct{}

func (bare) Index() int { return int(session.JSON) }
func (bare) AppendTick(dst []byte, t *tick.Tick) []byte {
	return append(session.AppendTick(session.JSON, dst, t), '\n')
}
func (bare) AppendMessage(dst []byte, m *session.Message) []byte {
	return append(m.Append(session.JSON, dst), '\n')
}
func (bare) AppendClose(dst []byte, _ code.Close, _ string) []byte { return dst }
func (bare) AppendPing(dst []byte) []byte                          { return dst }
func (bare) AppendFull([]byte, uint32, *tick.Tick, session.Digits) []byte {
	panic("JSON has no full form")
}
func (bare) AppendChanged([]byte, uint32, *tick.Tick, *tick.Tick, session.Digits) []byte {
	panic("JSON has no changed form")
}
func (bare) Join(dst []byte, _ int, _ []byte) ([]byte, bool) { return dst, false }

// outlet is a socket that takes, cuts between frames or refuses as the test wants.
type outlet struct {
	took    []string   // lines
	take    func() int // how many frames it takes of a write; nil: all
	refused bool
	ended   bool
	writes  int
}

func (o *outlet) WriteFrames(f *socket.Flush) (socket.Result, error) {
	o.writes++
	n := len(f.Ends)
	if o.take != nil {
		n = min(n, o.take())
	}
	start := 0
	for _, end := range f.Ends[:n] {
		o.took = append(o.took, string(f.Frames[start:end]))
		start = int(end)
	}
	o.refused = n < len(f.Ends)
	return socket.Result{Sent: n, Bytes: start, Blocked: o.refused}, nil
}
func (o *outlet) Say(p []byte) error    { o.took = append(o.took, string(p)); return nil }
func (o *outlet) SayIfIdle([]byte) bool { return true }
func (o *outlet) End([]byte)            { o.ended = true }
func (o *outlet) Alive() int64          { return 0 }

// bench is a bucket whose worker is the test: no NATS, time by hand.
func bench(gap time.Duration) *Bucket {
	b := &Bucket{o: Options{WriteGap: gap, Idle: time.Hour, Stats: &Stats{}, Log: slog.New(slog.DiscardHandler), Now: func() int64 { return 0 }},
		log: quiet.New(slog.New(slog.DiscardHandler), logEvery), wake: make(chan struct{}, 1), topics: map[subject.Symbol]*topic{}}
	b.interest.init()
	b.feed.init()
	return b
}

// live makes a topic that routers serve.
func live(b *Bucket, s subject.Symbol, f control.Flag) *topic {
	t := b.topic(s)
	t.wanted, t.live = f, true
	return t
}

func join(b *Bucket, o Outlet) *Session { return joinAs(b, o, bare{}) }

func joinAs(b *Bucket, o Outlet, d Dialect) *Session {
	s := b.Open(d)
	s.out = o
	b.addSession(s)
	return s
}

func publish(b *Bucket, t *topic, seq uint64, now int64) {
	b.take(t, &tick.Tick{Symbol: t.symbol, Position: tick.Position{Epoch: 1, Seq: seq},
		Quote: tick.Quote{Price: tick.NewDecimal(seq, 2), TS: int64(seq)}}, now)
}

func request(b *Bucket, s *Session, now int64, r session.Request) {
	b.operate(s, &r, func() {}, now)
}

// Sessions of both kinds subscribe, replace, unsubscribe and leave at random, over sockets that refuse and cut at random,
// while ticks come. Whoever is subscribed at the end has the newest value of each symbol, nothing ever went backwards,
// each tick is what was published, and in mode every nothing is missing untold.
func TestRandomSessionsEndOnNewest(t *testing.T) {
	const symbols = 40
	for round := range 30 {
		rng := rand.New(rand.NewPCG(uint64(round), 1))
		b := bench(5 * time.Millisecond)
		topics := make([]*topic, symbols)
		for i := range topics {
			topics[i] = live(b, subject.Symbol(fmt.Sprintf("S-%d", i)), control.Every)
		}
		published := history{}
		type model struct {
			*viewer
			s    *Session
			o    *outlet
			mode map[subject.Symbol]session.Mode
		}
		var all []*model
		now := int64(time.Hour)
		step := func() {
			now += rng.Int64N(int64(4 * time.Millisecond))
			b.wheel.fire(now, b.fired)
			b.flushDue(now)
			for _, m := range all {
				if m.o.refused && rng.IntN(3) == 0 {
					m.o.refused = false
					b.unblock(m.s, now)
				}
				m.read(m.o)
			}
			slow := int64(0)
			for _, m := range all {
				if m.s.blocked {
					slow++
				}
			}
			if n := b.o.Stats.Slow.Load(); n != slow {
				t.Fatalf("round %d: %d slow connections counted, there are %d", round, n, slow)
			}
		}
		for range 2000 {
			switch n := rng.IntN(100); {
			case n < 3 || len(all) == 0:
				m := &model{o: &outlet{}, mode: map[subject.Symbol]session.Mode{}}
				m.o.take = func() int {
					if rng.IntN(4) == 0 {
						return rng.IntN(5)
					}
					return 1 << 20
				}
				m.viewer = newViewer(t, published, len(all)%2 == 0)
				m.s = joinAs(b, m.o, m.dialect())
				all = append(all, m)
			case n < 5 && len(all) > 3:
				i := rng.IntN(len(all))
				b.dropSession(all[i].s, now)
				all = slices.Delete(all, i, i+1)
			case n < 25:
				m := all[rng.IntN(len(all))]
				var syms []subject.Symbol
				for _, i := range rng.Perm(symbols)[:1+rng.IntN(8)] {
					syms = append(syms, topics[i].symbol)
				}
				mode := session.Mode(rng.IntN(2))
				rate := 0
				if mode == session.Latest && rng.IntN(2) == 0 {
					rate = []int{10, 50, 100}[rng.IntN(3)]
				}
				if rng.IntN(3) == 0 {
					request(b, m.s, now, session.Request{Op: session.OpUnsubscribe, Symbols: syms})
					for _, s := range syms {
						delete(m.mode, s)
					}
				} else {
					request(b, m.s, now, session.Request{Op: session.OpSubscribe, ID: m.asks(mode), Symbols: syms, Mode: mode, MaxRate: rate})
					for _, s := range syms {
						m.mode[s] = mode
					}
				}
			case n < 35:
				all[rng.IntN(len(all))].s.pingDue = true
			default:
				for range rng.IntN(5) {
					u := topics[rng.IntN(symbols)]
					tk := published.next(rng, u.symbol)
					b.take(u, &tk, now)
				}
			}
			step()
		}
		for _, m := range all {
			m.o.take = nil
		}
		for range 2000 { // two seconds and more: the slowest clock is one of 100 ms
			step()
		}
		for _, m := range all {
			if m.gaps > 0 {
				t.Fatalf("round %d: %d gaps", round, m.gaps)
			}
			if len(m.s.subs) != len(m.mode) {
				t.Fatalf("round %d: %d subscriptions, want %d", round, len(m.s.subs), len(m.mode))
			}
			for s := range m.mode {
				if n := uint64(len(published[s])); m.last[s] != n {
					t.Fatalf("round %d: %s ends on %d, newest is %d", round, s, m.last[s], n)
				}
			}
		}
	}
}

func splitLines(s string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for len(s) > 0 {
			i := 0
			for s[i] != '\n' {
				i++
			}
			if !yield(s[:i]) {
				return
			}
			s = s[i+1:]
		}
	}
}

// A reader of mode every over a socket that refuses and cuts gets each tick once and in order.
func TestEveryOverBadSocket(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	b := bench(0)
	u := live(b, "X", control.Every)
	o := &outlet{take: func() int { return rng.IntN(4) }}
	s := join(b, o)
	now := int64(time.Hour)
	publish(b, u, 1, now)
	request(b, s, now, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"X"}, Mode: session.Every})
	const last = 400
	for seq := uint64(2); seq <= last; seq++ {
		publish(b, u, seq, now)
		b.flushDue(now)
		if s.blocked && rng.IntN(2) == 0 {
			b.unblock(s, now)
		}
	}
	for range 10 * last {
		b.unblock(s, now)
	}
	want := uint64(1)
	for _, line := range o.took {
		m, err := session.DecodeMessage(session.JSON, []byte(line))
		if err != nil {
			t.Fatal(err)
		}
		if m.Op == session.OpTick {
			if m.Seq != want {
				t.Fatalf("got seq %d, want %d", m.Seq, want)
			}
			want++
		}
	}
	if want != last+1 {
		t.Errorf("ended before %d", want)
	}
}

// A reader that is too slow for the ring is told what it missed.
func TestFallingOutOfTheRing(t *testing.T) {
	b := bench(0)
	u := live(b, "X", control.Every)
	o := &outlet{}
	s := join(b, o)
	now := int64(time.Hour)
	publish(b, u, 1, now)
	request(b, s, now, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"X"}, Mode: session.Every})
	s.blocked = true
	const last = 5 * ringSize
	for seq := uint64(2); seq <= last; seq++ {
		publish(b, u, seq, now)
	}
	o.took = nil
	for range 100 {
		b.unblock(s, now)
	}
	var next uint64
	for k, line := range o.took {
		for l := range splitLines(line) {
			m, err := session.DecodeMessage(session.JSON, []byte(l))
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case k == 0 && m.Op == session.OpGap && m.From == 2:
				next = m.To + 1
			case m.Op == session.OpTick && m.Seq == next:
				next++
			default:
				t.Fatalf("got %+v, want seq %d", m, next)
			}
		}
	}
	if next != last+1 {
		t.Errorf("ended before %d", next)
	}
}

// A tick costs no allocation, however many subscribers it has.
func TestTickDoesNotAllocate(t *testing.T) {
	b := bench(0)
	u := live(b, "X", control.Latest)
	for range 1000 {
		request(b, join(b, silent{}), 0, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"X"}})
	}
	tk := tick.Tick{Symbol: "X", Position: tick.Position{Epoch: 1}, Quote: tick.Quote{Price: tick.MustDecimal("64123.51")}}
	if n := testing.AllocsPerRun(100, func() {
		tk.Seq++
		b.take(u, &tk, 1)
		b.flushDue(1)
	}); n != 0 {
		t.Errorf("%v allocations a tick for 1,000 subscribers", n)
	}
	if got := b.o.Stats.Deliveries.Load(); got < 100*1000 {
		t.Errorf("%d deliveries", got)
	}
}

type silent struct{}

func (silent) WriteFrames(f *socket.Flush) (socket.Result, error) {
	return socket.Result{Sent: len(f.Ends), Bytes: len(f.Frames)}, nil
}
func (silent) Say([]byte) error      { return nil }
func (silent) SayIfIdle([]byte) bool { return true }
func (silent) End([]byte)            {}
func (silent) Alive() int64          { return 0 }

func BenchmarkTick(b *testing.B) {
	for _, n := range []int{1, 1000, 10000} {
		b.Run(fmt.Sprintf("subscribers=%d", n), func(b *testing.B) {
			k := bench(0)
			u := live(k, "X", control.Latest)
			for range n {
				request(k, join(k, silent{}), 0, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"X"}})
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
