package bucket

import (
	"testing"
	"time"

	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/services/edge/internal/socket"
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

// busyHeart takes so many frames of a write.
type busyHeart struct {
	heart
	take   int
	frames int
	said   int
}

func (h *busyHeart) Say([]byte) error { h.said++; return nil }

func (h *busyHeart) WriteFrames(f *socket.Flush) (socket.Result, error) {
	h.frames = len(f.Ends)
	n := min(h.take, h.frames)
	if n > 1 {
		h.alive = *h.now
	}
	return socket.Result{Sent: n, Bytes: n, Blocked: n < h.frames}, nil
}

// Who is written to often is pinged with his ticks; when they end, or when his socket takes nothing, as everybody else.
func TestPingLeavesWithTicks(t *testing.T) {
	b := bench(50 * time.Millisecond)
	b.o.Idle = time.Minute
	now := int64(time.Hour)
	h := &busyHeart{heart: heart{alive: now, now: &now, answers: true}, take: 9}
	s := join(b, h)
	s.phase = 2 // neither at the first turn nor between the two halves
	u := live(b, "X", control.Latest)
	request(b, s, now, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"X"}})
	b.nextVisit = now
	seq, with := uint64(0), 0
	run := func(d time.Duration, ticks bool) {
		for end := now + int64(d); now < end; {
			if ticks && now%int64(100*time.Millisecond) == 0 {
				seq++
				publish(b, u, seq, now)
			}
			h.frames = 0
			advance(b, &now)
			if h.frames == 2 {
				with++
			}
			if now >= b.nextVisit {
				b.visitSessions(now)
			}
		}
	}
	run(75*time.Second, true)
	if with != 3 || h.pings != 0 || h.ended || b.o.Stats.Pings.Load() != 3 {
		t.Errorf("in 75 s with ticks: %d pings with ticks, %d alone, %d counted, closed %v", with, h.pings, b.o.Stats.Pings.Load(), h.ended)
	}
	run(75*time.Second, false)
	if with != 3 || h.pings < 2 || h.pings > 3 || h.ended {
		t.Errorf("in 75 s without: %d pings with ticks, %d alone, closed %v", with-3, h.pings, h.ended)
	}
	if n := b.o.Stats.Deliveries.Load(); n != int64(seq) {
		t.Errorf("%d deliveries of %d ticks", n, seq)
	}

	// The ticks that it waits for do not come: it leaves alone, a turn later.
	s.pingDue, h.pings = true, 0
	run(6*time.Second, false)
	if h.pings == 0 || s.pingDue {
		t.Errorf("%d pings a turn later", h.pings)
	}

	// A tick comes, and with it none of the ping that is due goes out.
	s.pingDue, h.take = true, 0
	counted, said := b.o.Stats.Pings.Load(), h.said
	seq++
	publish(b, u, seq, now)
	advance(b, &now)
	if !s.blocked || s.pingDue || s.pinged != now || h.said != said || b.o.Stats.Pings.Load() != counted {
		t.Errorf("blocked %v, due %v, %d counted", s.blocked, s.pingDue, b.o.Stats.Pings.Load()-counted)
	}
	h.take, h.frames = 9, 0
	b.unblock(s, now)
	for turn := now + int64(100*time.Millisecond); h.frames == 0 && now <= turn; {
		advance(b, &now)
	}
	if h.frames != 1 { // the tick
		t.Errorf("%d frames when the socket takes bytes again", h.frames)
	}
}
