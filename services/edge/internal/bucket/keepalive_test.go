package bucket

import (
	"testing"
	"time"
)

// heart is a client that lets pass what it is pinged with, or answers.
type heart struct {
	silent
	alive   int64
	pings   int
	ended   bool
	answers bool
	now     *int64
}

func (h *heart) Alive() int64 { return h.alive }
func (h *heart) End([]byte)   { h.ended = true }
func (h *heart) SayIfIdle([]byte) bool {
	if h.pings++; h.answers {
		h.alive = *h.now
	}
	return true
}

// Who answers stays, who does not is closed at the idle time, and a worker that was held up for minutes closes nobody whom
// it has not pinged.
func TestAlive(t *testing.T) {
	b := bench(0)
	b.o.Idle = time.Minute
	now := int64(time.Hour)
	alive, dead := &heart{alive: now, now: &now, answers: true}, &heart{alive: now, now: &now}
	join(b, alive)
	join(b, dead)
	b.nextVisit = now
	run := func(d time.Duration) {
		for end := now + int64(d); now < end; now += int64(b.visitEvery()) {
			b.visitSessions(now)
		}
	}
	if run(59 * time.Second); dead.ended || dead.pings < 2 || dead.pings > 3 {
		t.Errorf("after 59 s: closed %v, %d pings", dead.ended, dead.pings)
	}
	if run(10 * time.Second); !dead.ended {
		t.Error("a client that gives no sign of life is not closed")
	}
	if alive.ended || alive.pings < 2 || alive.pings > 3 {
		t.Errorf("who answers: closed %v, %d pings in 69 s", alive.ended, alive.pings)
	}

	held := &heart{alive: now, now: &now}
	join(b, held)
	now += int64(3 * time.Minute)
	b.visitSessions(now)
	run(time.Second)
	if held.ended {
		t.Error("closed for the worker's own absence")
	}
	pings := alive.pings
	if run(25 * time.Second); alive.pings != pings+1 || alive.ended {
		t.Errorf("%d pings in the 25 s after, closed %v", alive.pings-pings, alive.ended)
	}
	if run(10 * time.Second); !held.ended {
		t.Error("a client that gives no sign of life is not closed afterwards")
	}
}

// full is a client whose pipe is full of answers that he does not read.
type full struct{ heart }

func (f *full) SayIfIdle([]byte) bool { return false }

// Nor does he stay who cannot even be pinged.
func TestFullPipeIsNoSignOfLife(t *testing.T) {
	b := bench(0)
	b.o.Idle = time.Minute
	now := int64(time.Hour)
	f := &full{heart{alive: now, now: &now}}
	join(b, f)
	b.nextVisit = now
	for end := now + int64(70*time.Second); now < end; now += int64(b.visitEvery()) {
		b.visitSessions(now)
	}
	if !f.ended {
		t.Error("not closed after 70 s")
	}
}
