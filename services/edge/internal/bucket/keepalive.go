package bucket

import (
	"math/rand/v2"
	"time"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/session"
)

// Sessions are looked at in turns, a slot of them at a time, so that each is seen twelve times in the idle time and pinged
// in every fifth of its turns: at 60 s every 5 s and every 25 s. Who is written to often gets his ping with the next ticks, one
// write less. The other pings of a slot leave together: grouped, a ping and its pong cost a third of what they cost alone,
// because the pongs come while the worker is awake anyway.
const (
	visitSlots = 20
	idleVisits = 12
	pingRounds = 5
)

// visitEvery is the time from one slot to the next.
func (b *Bucket) visitEvery() time.Duration { return b.o.Idle / (idleVisits * visitSlots) }

func (b *Bucket) addSession(s *Session) {
	s.gone = false
	s.slot = int32(rand.IntN(visitSlots))
	s.phase = uint8(rand.IntN(pingRounds))
	s.pos = int32(len(b.sessions[s.slot]))
	b.sessions[s.slot] = append(b.sessions[s.slot], s)
	if b.emptied != nil { // it had a place before the edge began to drain
		s.leave()
	}
}

// dropSession removes a session whose client has gone.
func (b *Bucket) dropSession(s *Session, now int64) {
	if s.gone {
		return
	}
	s.gone = true
	if s.blocked {
		b.o.Stats.Slow.Add(-1)
	}
	list := b.sessions[s.slot]
	last := len(list) - 1
	list[s.pos] = list[last]
	list[s.pos].pos = s.pos
	list[last] = nil
	b.sessions[s.slot] = list[:last]
	for i := len(s.subs) - 1; i >= 0; i-- {
		t := s.subs[i].t
		s.remove(i)
		b.released(t, now)
	}
}

// visitSessions looks at the slots whose turn it is. A worker that comes late makes up for what it missed, but for whole
// turns. Turns and checks come at multiples of their time, at once in all buckets: a process that wakes up seldom costs
// less.
func (b *Bucket) visitSessions(now int64) {
	every := int64(b.visitEvery())
	b.nextVisit = max(b.nextVisit, now-now%every-visitSlots*every)
	for ; b.nextVisit <= now; b.nextVisit += every {
		b.visitSlot(now)
	}
}

// visitSlot closes who has given no sign of life for the idle time and pings the others. Slowness alone is no reason to
// close: a client that still acknowledges bytes is alive. Nor is ours: who was not pinged after his last sign of life, and
// given a ping's time to answer, could not give any.
func (b *Bucket) visitSlot(now int64) {
	ping := [8]byte{}
	for _, s := range b.sessions[b.visit] {
		idle := now - s.out.Alive()
		asked := s.pinged > now-idle && now-s.pinged >= int64(b.o.Idle)/idleVisits
		switch {
		case idle > int64(b.o.Idle) && asked:
			s.End(code.Idle, "no sign of life for the idle time")
		case s.pingDue, (b.round+s.phase)%pingRounds == 0 && !s.busy(now): // it waited for ticks that did not come
			b.pinged(s, s.out.SayIfIdle(s.dialect.AppendPing(ping[:0])), now)
		case (b.round+s.phase)%pingRounds == 0:
			s.pingDue = true
		}
	}
	if b.visit++; b.visit == visitSlots {
		b.visit = 0
		b.round = (b.round + 1) % pingRounds
	}
}

// busy tells whether s was written ticks within the last second, or with a low max_rate the last three. Without a write gap
// nobody knows.
func (s *Session) busy(now int64) bool {
	for c := &s.plain; c != nil; c = c.other {
		if c.next > now-int64(time.Second) {
			return true
		}
	}
	return false
}

// pinged says that s was asked for a sign of life. A full pipe, without room for the ping, asks too: for what is in it to be
// acknowledged.
func (b *Bucket) pinged(s *Session, written bool, now int64) {
	s.pinged, s.pingDue = now, false
	if written {
		b.o.Stats.Pings.Add(1)
	}
}

// sayAll says m to every session.
func (b *Bucket) sayAll(m *session.Message) {
	var frames [maxDialects][]byte
	for _, slot := range b.sessions {
		for _, s := range slot {
			i := s.dialect.Index()
			if frames[i] == nil {
				frames[i] = s.dialect.AppendMessage(nil, m)
			}
			_ = s.out.Say(frames[i])
		}
	}
}
