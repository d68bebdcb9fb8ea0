//go:build linux

package load

import (
	"testing"
	"time"
)

// pace is a steady clock. What comes too late moves all that comes after it, and nothing is made up for: that would be a
// burst that nobody asked for.
type pace struct {
	step time.Duration
	next time.Time
}

func newPace(rate float64, now time.Time) *pace {
	return &pace{step: time.Duration(float64(time.Second) / rate), next: now}
}

// done is told when something was done, and sets when the next is due.
func (p *pace) done(now time.Time) {
	if p.next = p.next.Add(p.step); p.next.Before(now) {
		p.next = now
	}
}

func TestPaceMakesUpForNothing(t *testing.T) {
	began := time.Unix(1_700_000_000, 0)
	p := newPace(100, began)
	at := func(d time.Duration) time.Time { return began.Add(d * time.Millisecond) }
	for _, c := range []struct{ done, next time.Duration }{
		{0, 10}, {10, 20}, {21, 30}, {30, 40}, // a little late is still in time for the next
		{75, 75}, {75, 85}, {86, 95}, // much too late: on from there
	} {
		p.done(at(c.done))
		if !p.next.Equal(at(c.next)) {
			t.Fatalf("done at %d ms, next at %s, want %d ms", c.done, p.next.Sub(began), c.next)
		}
	}
}
