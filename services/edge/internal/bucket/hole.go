package bucket

import (
	"math"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

const (
	// holeWait is how long a missing tick may still come by itself: out of order, or from the bucket's other router.
	holeWait = 250 * time.Millisecond
	// frontWait is how long nothing is asked about what lies before the ring, which cannot come by itself: readers that
	// resume together share one question.
	frontWait = 25 * time.Millisecond
	// fillTime is how long the history is waited for before readers are told of a gap.
	fillTime = time.Second
	// fillAgain is when a question that was refused, or had no turn, is asked again.
	fillAgain = 100 * time.Millisecond
	// unanswered is how long a hole about which nobody answered is not asked about again.
	unanswered = 5 * time.Second

	// What readers can make a bucket ask for is bounded: holes open, questions under way, questions in a while. Beyond
	// the first a hole is a gap at once, beyond the others it waits for its turn, a second at most.
	maxHoles     = 1024
	maxAsked     = 8
	askedPerTurn = 64
	askedTurn    = 250 * time.Millisecond
)

// hole is a run of ticks that readers of mode every miss before a tick of the ring. It opens when the first of them comes
// to it, and all of them share it:
//
//	open ──(wait over)──► asked ──(answered)──► closed: what is still missing, if anything, is told as a gap
//	  ▲                    │  │
//	  └─────(refused)──────┘  └───(a second)──► closed, for some seconds
//
// Ticks that arrive within it belong to it until it is over. What is asked for at a time is the run right above the last
// tick that readers have, or, of an earlier epoch, below the first one of a later: so it goes on until nothing is missing,
// the history has no more, or the ring has no room.
type hole struct {
	t   *topic
	end tick.Position // of the tick behind it
	low tick.Position // what comes after it is missing

	id       uint64 // of the question under way; 0: none
	asked    tick.Range
	until    int64 // open: ask then; asked: wait no longer
	deadline int64 // refusals end then; 0: asked is not, or has been answered
	clipped  bool  // what is below low has no room in the ring

	closed  bool
	expires int64      // closed: a reader that comes later may open it again
	gone    tick.Range // closed: what is missing of this is not in the history
}

// holes are those of a bucket that are open or asked for.
type holes struct {
	list  []*hole
	asked map[uint64]*hole
	id    uint64
	next  int64 // when one of them is due
	turn  int64 // when askedPerTurn began
	spent int
}

// waits tells whether a reader that misses ticks before entry k has to wait for them. A reader that fell out of the ring
// has not: it was too slow for what it got, and to get more of it would make it slower.
func (b *Bucket) waits(t *topic, k int, r *reader, now int64) bool {
	e := &t.ring.entries[k]
	if k == 0 && r.begun {
		return false
	}
	h := e.hole
	if h == nil || h.closed && now >= h.expires {
		until := now + int64(frontWait)
		if k > 0 {
			until = max(now, e.open)
		}
		if h = b.feed.holes.open(t, e, r.at, until); h == nil {
			return false
		}
		// What he will come to next is asked for meanwhile, or he would wait for one after the other.
		for j := k + 1; j < len(t.ring.entries); j++ {
			before, e := t.ring.entries[j-1].Position, &t.ring.entries[j]
			if e.hole == nil && !follows(before, &e.Tick) {
				b.feed.holes.open(t, e, before, max(now, e.open))
			}
		}
	}
	if h.low.After(r.at) && !h.clipped {
		h.low = r.at
	}
	return !h.closed
}

// open makes the hole between low and an entry; nil: there are too many.
func (hs *holes) open(t *topic, e *entry, low tick.Position, until int64) *hole {
	if len(hs.list) >= maxHoles {
		return nil
	}
	if len(hs.list) == 0 || until < hs.next {
		hs.next = until
	}
	h := &hole{t: t, end: e.Position, low: low, until: until}
	e.hole = h
	hs.list = append(hs.list, h)
	return h
}

// due is when check has something to do.
func (hs *holes) due() int64 {
	if len(hs.list) == 0 {
		return math.MaxInt64
	}
	return hs.next
}

// check does what is due.
func (hs *holes) check(b *Bucket, now int64) {
	if len(hs.list) == 0 || now < hs.next {
		return
	}
	hs.next = math.MaxInt64
	keep := hs.list[:0]
	for _, h := range hs.list {
		if !h.closed && now >= h.until {
			if h.id != 0 { // no answer
				hs.close(b, h, now+int64(unanswered), now)
			} else {
				hs.advance(b, h, now)
			}
		}
		if !h.closed {
			keep = append(keep, h)
			hs.next = min(hs.next, h.until)
		}
	}
	clear(hs.list[len(keep):])
	hs.list = keep
}

// advance asks for what is missing, or ends the hole.
func (hs *holes) advance(b *Bucket, h *hole, now int64) {
	if h.t.ring == nil || h.t.every == 0 { // nobody waits any more
		hs.close(b, h, now, now)
		return
	}
	p, k := h.missing()
	if k < 0 {
		hs.close(b, h, now, now)
		return
	}
	entries := h.t.ring.entries
	r, known := runBefore(p, &entries[k].Tick)
	fits := uint64(max(0, ringSize-(len(entries)-k)))
	switch {
	case !known, fits == 0, h.deadline == 0 && within(r, h.asked): // the last: it was asked for, and is all that there is
		hs.close(b, h, math.MaxInt64, now)
		return
	case r.Len() > fits:
		r.From = r.To - fits + 1
		h.low, h.clipped = tick.Position{Epoch: r.Epoch, Seq: r.From - 1}, true
	}
	if h.deadline == 0 {
		h.deadline = now + int64(fillTime)
	}
	if now >= h.deadline || r.Check() != nil {
		hs.close(b, h, now+int64(unanswered), now)
		return
	}
	if !hs.mayAsk(now) {
		h.until = now + int64(fillAgain)
		return
	}
	hs.id++
	h.id, h.asked, h.until = hs.id, r, h.deadline
	hs.asked[h.id] = h
	b.o.Stats.RangesAsked.Add(1)
	req := tick.NewestRequest{Range: r}
	b.request(subject.RouterNewest(b.o.Region), askRange, h.id, req.Append(nil), nil)
}

func (hs *holes) mayAsk(now int64) bool {
	if now-hs.turn >= int64(askedTurn) {
		hs.turn, hs.spent = now, 0
	}
	if len(hs.asked) >= maxAsked || hs.spent >= askedPerTurn {
		return false
	}
	hs.spent++
	return true
}

// missing is the last tick that is there from low on without a step, and the entry that does not follow it; -1: all do.
func (h *hole) missing() (p tick.Position, k int) {
	r := h.t.ring
	p = h.low
	for k = r.after(p); k < len(r.entries); k++ {
		e := &r.entries[k]
		if e.After(h.end) {
			break
		}
		if !follows(p, &e.Tick) {
			return p, k
		}
		p = e.Position
	}
	return p, -1
}

// within tells whether all of r was asked for before.
func within(r, asked tick.Range) bool {
	return r.Epoch == asked.Epoch && r.From >= asked.From && r.To <= asked.To
}

// runBefore is the run of ticks right before t of those that a reader at p misses. known is false where positions do not
// tell what it is: an epoch whose end nobody knows.
func runBefore(p tick.Position, t *tick.Tick) (r tick.Range, known bool) {
	r = tick.Range{Symbol: t.Symbol, Epoch: t.Epoch, From: 1, To: t.Seq - 1}
	if t.Seq == 1 {
		if !t.Prev.After(p) || !t.After(t.Prev) {
			return r, false
		}
		r.Epoch, r.To = t.Prev.Epoch, t.Prev.Seq
	}
	if r.Epoch == p.Epoch {
		r.From = p.Seq + 1
	}
	return r, r.From <= r.To
}

// answered takes one message of an answer.
func (hs *holes) answered(b *Bucket, msg *nats.Msg, id uint64, now int64) {
	h := hs.asked[id]
	if h == nil {
		return
	}
	m := tick.NewestAnswer{Last: true, Lack: tick.Refused}
	if !noResponders(msg) {
		var err error
		if m, err = tick.DecodeNewestAnswer(msg.Data); err != nil {
			b.o.Stats.Malformed.Add(1)
			b.warn("answer to a range cannot be read", "error", err)
			return
		}
	}
	for _, item := range m.Ticks {
		tk, err := tick.Decode(item)
		if err != nil {
			b.o.Stats.Malformed.Add(1)
			continue
		}
		if tk.Symbol != h.t.symbol || !h.asked.Holds(tk.Position) || h.t.ring == nil {
			continue
		}
		tk.Symbol = h.t.symbol // one string for all
		if h.t.ring.fill(&tk, now) {
			b.o.Stats.Filled.Add(1)
		}
	}
	if !m.Last {
		b.markEvery(h.t, now)
		return
	}
	delete(hs.asked, id)
	h.id = 0
	switch {
	case m.Lack == tick.Refused, m.Lack == tick.Ahead: // what is newer has come here, so it will be stored
		h.until = now + int64(fillAgain)
	case m.Lack != tick.Nothing:
		h.gone = h.asked
		hs.close(b, h, math.MaxInt64, now)
	case h.clipped:
		hs.close(b, h, math.MaxInt64, now)
	default: // readers may miss more below it
		h.deadline = 0
		hs.advance(b, h, now)
	}
	hs.next = min(hs.next, h.until)
	b.markEvery(h.t, now)
}

// close ends a hole, until a time: then a reader that still misses something may open it again. Nothing may be missing,
// too: then the ring's entries do not need it.
func (hs *holes) close(b *Bucket, h *hole, expires, now int64) {
	delete(hs.asked, h.id)
	h.id, h.closed, h.expires, h.until = 0, true, expires, now
	if r := h.t.ring; r != nil && !h.clipped {
		// What lies below the first tick that was asked for is another hole, if that tick is there.
		if i, found := r.find(tick.Position{Epoch: h.asked.Epoch, Seq: h.asked.From}); found && r.entries[i].hole == h {
			r.entries[i].hole = nil
		}
	}
	b.markEvery(h.t, now)
}

// markEvery has all readers of mode every look again.
func (b *Bucket) markEvery(t *topic, now int64) {
	for _, r := range t.subs {
		if r.every {
			b.mark(r.clock, r.i, now)
		}
	}
}

// gapMessage names a gap that lies before an entry, and where HTTP may still have it.
func gapMessage(s subject.Symbol, g gap, h *hole) *session.Message {
	m := &session.Message{Op: session.OpGap, Symbol: s, Epoch: g.Epoch, From: g.From, To: g.To}
	r := tick.Range{Symbol: s, Epoch: g.Epoch, From: g.From, To: g.To}
	known := h != nil && h.gone.Holds(tick.Position{Epoch: g.Epoch, Seq: g.From}) && h.gone.Holds(tick.Position{Epoch: g.Epoch, Seq: g.To})
	if g.To > 0 && !known && r.Check() == nil {
		m.URL = session.RangeURL(r)
	}
	return m
}
