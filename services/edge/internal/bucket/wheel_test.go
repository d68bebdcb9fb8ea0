package bucket

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
)

// Every clock fires once, not before its time and within a slot of the first look after it.
func TestWheel(t *testing.T) {
	var w wheel
	at := map[*clock]int64{}
	now := int64(time.Hour)
	for range 20000 {
		for range rand.IntN(3) {
			c := &clock{}
			at[c] = now + rand.Int64N(int64(time.Second))
			w.add(c, at[c], now)
		}
		if next, ok := w.next(); ok != (len(at) > 0) || ok && next > now+int64(time.Second)+2*int64(slot) {
			t.Fatalf("next fires in %s", time.Duration(next-now))
		}
		now += rand.Int64N(int64(20 * time.Millisecond))
		w.fire(now, func(c *clock, _ int64) {
			if when, ok := at[c]; !ok || when > now {
				t.Fatalf("fires %s early (known: %v)", time.Duration(when-now), ok)
			}
			delete(at, c)
		})
		for c, when := range at {
			if now-when > 2*int64(slot) {
				t.Fatalf("clock %p is %s late", c, time.Duration(now-when))
			}
		}
	}
}

// A worker that did not run for long still fires everything.
func TestWheelAfterPause(t *testing.T) {
	var w wheel
	now := int64(time.Hour)
	w.add(&clock{}, now+int64(time.Second), now)
	w.add(&clock{}, now+int64(time.Millisecond), now)
	now += int64(time.Minute)
	w.add(&clock{}, now, now)
	n := 0
	w.fire(now+2*int64(slot), func(*clock, int64) { n++ })
	if n != 3 || w.n != 0 {
		t.Errorf("%d fired, %d left", n, w.n)
	}
}

// Two writes are never closer than three quarters of the gap, and who always has something to be sent is written to as
// often as he asked for, also where his turns do not fall on the wheel's.
func TestClockKeepsItsRate(t *testing.T) {
	for rate := 1; rate <= session.MaxRate; rate++ {
		for range 20 {
			c := &clock{}
			c.init(nil, rate, 0)
			start := int64(time.Hour)
			n := 0
			for now := start; now < start+int64(5*time.Second); n++ {
				c.wrote(now)
				if d := c.next - now; d < c.gap*3/4 || d >= c.gap*7/4+1 {
					t.Fatalf("next write after %s of a gap of %s", time.Duration(d), time.Duration(c.gap))
				}
				now = slotOf(c.next)*int64(slot) + rand.Int64N(int64(300*time.Microsecond)) // the wheel's, and the worker's
			}
			if n > 5*rate+1 || n < 5*rate*4/5 {
				t.Fatalf("%d writes in 5 s at %d a second", n, rate)
			}
		}
	}
}

// A write that comes at once is followed by one in phase, soon where no rate was asked for.
func TestClockAfterPause(t *testing.T) {
	for range 1000 {
		for rate, least := range map[int]int64{0: 1, 40: 3} { // quarters of the gap
			c := &clock{fresh: true}
			c.init(nil, rate, 25*time.Millisecond)
			now := int64(time.Hour) + rand.Int64N(int64(time.Second))
			c.wrote(now)
			if d := c.next - now; d < c.gap*least/4 || d >= c.gap*(least+4)/4+1 || (c.next-c.phase)%c.gap != 0 {
				t.Fatalf("rate %d: next write after %s of a gap of %s", rate, time.Duration(d), time.Duration(c.gap))
			}
		}
	}
}

// However ticks come, a connection is written to once between two of its clock's turns, at most.
func TestOneWriteATurn(t *testing.T) {
	for _, gap := range []time.Duration{5 * time.Millisecond, 25 * time.Millisecond, 100 * time.Millisecond} {
		for range 20 {
			b := bench(gap)
			o := &outlet{}
			s := join(b, o)
			u := live(b, "X", control.Latest)
			now, seq := int64(time.Hour), uint64(0)
			request(b, s, now, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"X"}})
			c := &s.plain
			last := int64(-1)
			for end := now + int64(100*gap); now < end; now += rand.Int64N(int64(gap) / 4) {
				if seq++; rand.IntN(8) > 0 {
					publish(b, u, seq, now)
				} else {
					now += rand.Int64N(int64(2 * gap))
				}
				before := o.writes
				b.wheel.fire(now, b.fired)
				b.flushDue(now)
				if turn := (now - c.phase) / c.gap; o.writes > before {
					if turn == last {
						t.Fatalf("gap %s: a second write in one turn", gap)
					}
					last = turn
				}
			}
		}
	}
}

// What is added while the wheel fires waits for its time, after a pause too.
func TestWheelFiresIntoItself(t *testing.T) {
	var w wheel
	now := int64(time.Hour)
	w.add(&clock{}, now, now)
	for range 1000 {
		now += rand.Int64N(int64(3 * time.Second))
		at := now + rand.Int64N(int64(time.Second))
		w.fire(now, func(c *clock, now int64) { w.add(c, at, now) })
		if w.n != 1 {
			t.Fatalf("%d clocks", w.n)
		}
		next, _ := w.next()
		if next > at+int64(slot) {
			t.Fatalf("fires %s late", time.Duration(next-at))
		}
		now = next
	}
}
