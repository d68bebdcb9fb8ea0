package bucket

import (
	"math"
	"math/rand/v2"

	"github.com/tickfan/tickfan/proto/session"
)

// drainSpread is how long after it was told a client is asked to leave at most, in milliseconds. The telling is paced
// already; this keeps those who are told together from arriving together.
const drainSpread = 1000

// draining is a bucket that sends its clients away, in an order that is nobody's.
type draining struct {
	sessions []*Session
	told     int
	from     int64
	until    int64 // when all have been told
}

func (b *Bucket) beginDrain(now, until int64) {
	if b.emptied != nil {
		return
	}
	d := &draining{from: now, until: max(until, now+1)}
	for _, slot := range b.sessions {
		d.sessions = append(d.sessions, slot...)
	}
	rand.Shuffle(len(d.sessions), func(i, k int) { d.sessions[i], d.sessions[k] = d.sessions[k], d.sessions[i] })
	b.emptied = d
}

// tell tells those whose turn has come.
func (d *draining) tell(now int64) {
	for ; d.told < len(d.sessions) && now >= d.turn(d.told); d.told++ {
		if s := d.sessions[d.told]; !s.gone {
			s.leave()
		}
		d.sessions[d.told] = nil
	}
}

// turn is when client i is told.
func (d *draining) turn(i int) int64 {
	return d.from + int64(float64(d.until-d.from)*float64(i)/float64(len(d.sessions)))
}

func (d *draining) next() int64 {
	if d.told == len(d.sessions) {
		return math.MaxInt64
	}
	return d.turn(d.told)
}

// leave asks the client to go to another edge.
func (s *Session) leave() {
	s.say(&session.Message{Op: session.OpReconnect, AfterMS: 1 + rand.Int64N(drainSpread), Reason: "drain"})
}
