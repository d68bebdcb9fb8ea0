package bucket

import (
	"math/rand/v2"
	"testing"
	"time"
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
		w.fire(now, func(c *clock) {
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
	w.fire(now+2*int64(slot), func(*clock) { n++ })
	if n != 3 || w.n != 0 {
		t.Errorf("%d fired, %d left", n, w.n)
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

func TestClockKeepsItsPhaseAndRate(t *testing.T) {
	for range 1000 {
		c := &clock{}
		c.init(nil, 1+rand.IntN(100), 0)
		now := int64(time.Hour)
		for range 50 {
			before := now
			c.wrote(now)
			if d := c.next - before; d < c.gap*3/4 || d >= c.gap*7/4+1 {
				t.Fatalf("next write after %s of a gap of %s", time.Duration(d), time.Duration(c.gap))
			}
			if (c.next-c.phase)%c.gap != 0 {
				t.Fatal("out of phase")
			}
			now = c.next + rand.Int64N(int64(slot)) // the wheel is up to a slot late
		}
	}
}
