package bucket

import (
	"github.com/tickfan/tickfan/proto/tick"
	"github.com/tickfan/tickfan/services/edge/internal/socket"
)

// ageEvery is of how many writes one is looked at for the age of its first tick: that takes some 160 ns (BenchmarkAge), and a
// write of one tick some 9 us. It is prime, so that it is not always the same connections' turn.
const ageEvery = 17

// maxFlush is where a flush stops adding ticks of mode every; the rest follows in the next one.
const maxFlush = 64 << 10

// flush is what a worker needs to write to one connection, kept from one to the next.
type flush struct {
	socket.Flush
	parts  []part    // of which subscription each tick is
	traced []*traced // those of the ticks that are
	every  bool      // some of these are of mode every
	open   int       // where the last frame begins, if it is one of ticks in Compact; else -1
}

// part is one tick's origin, to take it back when the kernel did not want it.
type part struct {
	i      uint32
	frame  int32         // Compact: in which frame it is, if ticks share any
	before tick.Position // mode every: where the reader was
	sent   uint32        // Compact, mode latest: what the subscription was sent before
	head   bool          // an answer, not a tick
	first  bool          // Compact, mode every: the reader had not been sent the tick at before
}

func (f *flush) reset() {
	f.Reset()
	f.parts = f.parts[:0]
	clear(f.traced)
	f.traced = f.traced[:0]
	f.open, f.every = -1, false
}

func (f *flush) end(p part) {
	f.Ends = append(f.Ends, int32(len(f.Frames)))
	f.parts = append(f.parts, p)
}

// frame is the frame that part k is in. Without joins each part is a frame.
func (f *flush) frame(k int) int {
	if len(f.parts) == len(f.Ends) {
		return k
	}
	return int(f.parts[k].frame)
}

// join appends a frame of Compact, its ticks in the frame before if there is room: a header less on the wire, and a
// message less for the client to be woken for.
func (f *flush) join(d Dialect, frame []byte, p part) {
	if f.open >= 0 {
		if frames, ok := d.Join(f.Frames, f.open, frame); ok {
			last := len(f.Ends) - 1
			f.Frames, f.Ends[last] = frames, int32(len(frames))
			p.frame = int32(last)
			f.parts = append(f.parts, p)
			return
		}
	}
	f.open = len(f.Frames)
	f.Frames = append(f.Frames, frame...)
	p.frame = int32(len(f.Ends))
	f.end(p)
}

// mark makes subscription i of clock c's session dirty and has it written when the clock allows.
func (b *Bucket) mark(c *clock, i uint32, now int64) {
	c.set(i)
	if b.schedule(c, now) {
		c.fresh = true
	}
}

// schedule tells whether the clock has just been queued.
func (b *Bucket) schedule(c *clock, now int64) bool {
	switch {
	case c.queued, c.waits, c.s.blocked:
	case now < c.next:
		c.waits = true
		b.wheel.add(c, c.next, now)
	default:
		c.queued = true
		b.due = append(b.due, c)
		return true
	}
	return false
}

// fired is called by the wheel. The clock's time may have moved on meanwhile: it has written with an answer.
func (b *Bucket) fired(c *clock, now int64) {
	c.waits = false
	if c.any() {
		b.schedule(c, now)
	}
}

// ahead is how many clocks flushDue touches at once: some more than the misses that a core can have under way.
const ahead = 16

func (b *Bucket) flushDue(now int64) {
	for i := 0; i < len(b.due); i++ { // it grows meanwhile when a flush has no room for all and there is no write gap
		if i%ahead == 0 {
			b.touch(b.due[i:min(i+ahead, len(b.due))])
		}
		c := b.due[i]
		b.due[i] = nil
		if c.queued && !c.s.gone && !c.s.blocked { // else it was written with another of its session's, or unblock does it
			b.flushSession(c.s, nil, now)
		}
	}
	b.due = b.due[:0]
	b.waiting.Store(int64(b.wheel.n))
}

// touch reads what the next flushes begin with. Each write drives everything of ours out of the caches, so a flush alone
// waits for memory four times in a row (clock, session, subscription, connection); here the processor fetches those of
// many flushes at the same time. Of 10,000 connections written to 5 times a second, our own code was 7.2 % of the edge's
// CPU without it and is 4.6 % with it.
func (b *Bucket) touch(next []*clock) {
	x := int64(0)
	for _, c := range next {
		if s := c.s; len(s.subs) > 0 {
			x += s.out.Alive() + int64(s.subs[0].pos)
		}
	}
	b.touched = x // or the compiler would leave the reading out
}

// unblock goes on with a session whose socket can be written to again: the outbox and what is dirty by now.
func (b *Bucket) unblock(s *Session, now int64) {
	if s.gone {
		return
	}
	if s.blocked {
		s.blocked = false
		b.o.Stats.Slow.Add(-1)
	}
	for c := &s.plain; c != nil; c = c.other {
		if c.any() {
			b.schedule(c, now)
		}
	}
	b.flushSession(s, nil, now)
}

// flushSession writes, in one system call, the outbox, head (if any) and the newest value of each dirty subscription of
// those clocks that are queued.
func (b *Bucket) flushSession(s *Session, head []byte, now int64) {
	f := &b.flush
	f.reset()
	switch {
	case head != nil:
		f.Frames = append(f.Frames, head...)
		f.end(part{head: true})
	case s.pingDue:
		f.Frames = s.dialect.AppendPing(f.Frames)
		f.end(part{head: true})
	}
	for c := &s.plain; c != nil; c = c.other {
		if c.queued {
			b.gather(c, now)
		}
	}
	sent := b.write(s)
	if head == nil && s.pingDue {
		b.pinged(s, sent > 0, now)
	}
	b.takeBack(s, head, sent)
	if len(f.traced) > 0 {
		b.trace(s, sent)
	}
}

// gather appends what is dirty of clock c, and has what finds no room written next time.
func (b *Bucket) gather(c *clock, now int64) {
	f, s := &b.flush, c.s
	c.queued = false
	had := len(f.parts)
	for i := range c.each {
		u := &s.subs[i]
		if tr := u.t.traced; tr != nil { // a load of what the next lines need anyway
			f.traced = append(f.traced, tr)
			f.every = f.every || u.every != nil
		}
		if u.every == nil && s.numbered {
			f.gatherChanged(s, i)
			c.unset(i)
		} else if u.every == nil {
			f.Frames = append(f.Frames, u.t.frame(s.dialect)...)
			f.end(part{i: i})
			c.unset(i)
		} else if b.gatherEvery(s, i, now) {
			c.unset(i)
		}
	}
	if len(f.parts) > had {
		c.wrote(now)
	}
	if c.any() {
		b.schedule(c, now)
	}
}

// gatherChanged appends, in Compact, the newest tick in the form that the subscription's last one asks for.
func (f *flush) gatherChanged(s *Session, i uint32) {
	u := &s.subs[i]
	n := u.t.compact
	f.join(s.dialect, n.frame(s.dialect, &u.t.newest, u.sent), part{i: i, sent: u.sent})
	u.sent = n.version
}

// gatherEvery appends what the reader has not had yet; true when nothing is left to send for now.
func (b *Bucket) gatherEvery(s *Session, i uint32, now int64) (done bool) {
	f := &b.flush
	u := &s.subs[i]
	entries := u.t.ring.entries
	for k := u.t.ring.after(u.every.at); k < len(entries); k++ {
		e := &entries[k]
		before := u.every.at
		if len(f.Frames) > maxFlush {
			return false
		}
		if !follows(before, &e.Tick) {
			if b.waits(u.t, k, u.every, now) {
				return true // marked again when the wait is over
			}
			for _, g := range gaps(before, &e.Tick) {
				b.o.Stats.Gaps.Add(1)
				f.open = -1
				f.Frames = s.dialect.AppendMessage(f.Frames, gapMessage(u.t.symbol, g, e.hole))
			}
		}
		if s.numbered {
			frame := u.t.ring.frame(s.dialect, u.t.compact.number, k, u.every.sent)
			f.join(s.dialect, frame, part{i: i, before: before, first: u.every.sent != before})
			u.every.sent = e.Position
		} else {
			d := s.dialect.Index()
			if e.frames[d] == nil {
				e.frames[d] = s.dialect.AppendTick(nil, &e.Tick)
			}
			f.Frames = append(f.Frames, e.frames[d]...)
			f.end(part{i: i, before: before})
		}
		u.every.at, u.every.begun = e.Position, true
	}
	return true
}

// write gives the kernel what was gathered and tells how many frames are gone for good.
func (b *Bucket) write(s *Session) int {
	r, err := s.out.WriteFrames(&b.flush.Flush)
	st := b.o.Stats
	switch {
	case err != nil: // the reader sees it too and ends the session
		return len(b.flush.Ends)
	case r.Blocked:
		if !s.blocked && !s.gone {
			st.Slow.Add(1)
		}
		s.blocked = true
		st.Refused.Add(1)
	}
	if r.Bytes > 0 {
		st.Writes.Add(1)
		st.Bytes.Add(int64(r.Bytes))
	}
	return r.Sent
}

// takeBack makes dirty again what was not sent: the socket is blocked then, and unblock writes it.
func (b *Bucket) takeBack(s *Session, head []byte, sent int) {
	f := &b.flush
	k := len(f.parts)
	if sent < len(f.Ends) {
		k = b.undo(s, head, sent)
	}
	first := 0
	if k > 0 && f.parts[0].head {
		first = 1
	}
	if k == first {
		return
	}
	b.o.Stats.Deliveries.Add(int64(k - first))
	if b.writes++; b.writes%ageEvery == 0 && head == nil { // a subscribe is answered with what may be old
		if u := &s.subs[f.parts[first].i]; u.every == nil { // else it was not the newest that was written
			b.o.Stats.Written.Since(u.t.newest.At)
		}
	}
}

// undo takes back the parts from frame sent on and gives the number of those before it.
func (b *Bucket) undo(s *Session, head []byte, sent int) int {
	f := &b.flush
	k := len(f.parts)
	for ; k > 0 && f.frame(k-1) >= sent; k-- {
		p := &f.parts[k-1]
		if p.head {
			if head != nil { // a ping is worth nothing to a full pipe
				s.answer(head)
			}
			continue
		}
		u := &s.subs[p.i]
		u.sent = p.sent
		if u.every != nil {
			u.every.at, u.every.sent = p.before, p.before
			if p.first {
				u.every.sent = tick.Position{}
			}
		}
		u.clock.set(p.i)
	}
	return k
}
