package tickfan

import "github.com/tickfan/tickfan/proto/session"

// maxSeq is above every seq, and still an integer of the protocol.
const maxSeq = 1<<53 - 1

// subscription is one symbol: how it is subscribed and where it stands.
type subscription struct {
	symbol string
	mode   session.Mode
	rate   int

	last    Position // of the newest tick received, or the end of a gap told; nothing at or before it is handed out
	started bool     // mode every: last is where the stream stands, so what does not follow it is a gap

	unpriced bool // there was no tick when it was subscribed

	newest Tick // mode latest: what waits to be taken, if queued
	queued bool
}

// next takes the position of a tick in mode every. It tells whether the tick is new, and gives the gap before it, if
// there is one that nobody told of. Across epochs the last seq of the old one is not known here, but each begins at 1.
func (s *subscription) next(p Position) (hole Gap, fresh bool) {
	fresh = p.After(s.last)
	if fresh && s.started {
		if from := s.expected(p.Epoch); from < p.Seq {
			hole = Gap{Symbol: s.symbol, Epoch: p.Epoch, From: from, To: p.Seq - 1}
		}
	}
	if fresh {
		s.last = p
	}
	s.started = true
	return hole, fresh
}

// expected is the seq that comes next if it is of this epoch, which is not before last's.
func (s *subscription) expected(epoch uint64) uint64 {
	if epoch == s.last.Epoch {
		return s.last.Seq + 1
	}
	return 1
}

// gap takes a gap in mode every, trims it to what is not known yet, and tells whether anything is left. Afterwards the
// stream stands behind it.
func (s *subscription) gap(g Gap) (Gap, bool) {
	end := Position{Epoch: g.Epoch, Seq: g.To}
	if g.To == 0 {
		end.Seq = maxSeq
	}
	if !end.After(s.last) {
		return g, false
	}
	if s.started {
		g.From = s.expected(g.Epoch) // also back: what lies before the gap has not come either
	}
	s.last, s.started = end, true
	return g, true
}

// resume makes the subscription ready for a new connection and gives the position to ask for, if there is one. What is
// published while the client is away must not pass for the time before its start.
func (s *subscription) resume() (after Position, given bool) {
	if s.mode != session.Every {
		return Position{}, false
	}
	seen := s.last.Epoch > 0
	s.started = s.started || seen || s.unpriced
	return s.last, seen
}
