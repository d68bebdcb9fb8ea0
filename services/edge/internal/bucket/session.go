package bucket

import (
	"errors"
	"math/bits"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/tick"
	"github.com/tickfan/tickfan/services/edge/internal/socket"
)

// Session is one connection in a bucket. Its exported methods may be called by anyone, the rest is the worker's.
type Session struct {
	plain clock // for subscriptions without max_rate; here, and first, because every tick touches it

	out     Outlet
	dialect Dialect
	subs    []sub
	bucket  *Bucket

	slot     int32 // place among the bucket's ping slots
	pos      int32
	pinged   int64 // when it was last pinged; 0: never
	errors   atomic.Int32
	ending   atomic.Bool
	phase    uint8 // which of the rounds brings its ping
	pingDue  bool  // its next write takes a ping along
	numbered bool  // the dialect is Compact: topics have numbers
	blocked  bool  // the socket refused bytes; Writable follows
	gone     bool  // from the bucket, or not in it yet
}

// sub is one subscription of a session.
type sub struct {
	t     *topic
	pos   uint32 // in t.subs
	sent  uint32 // Compact, mode latest: version of t that was sent last; 0: none since it was subscribed
	clock *clock
	every *reader // nil in mode latest
}

// reader is a subscription in mode every.
type reader struct {
	at    tick.Position // of the last tick that it was sent, or where it starts
	sent  tick.Position // Compact: of the last tick that it was sent; none since it was subscribed
	begun bool          // it was sent one
}

// clock says when a session may be written to next, for all its subscriptions of one rate: they leave in one write, with
// those of its other rates that are due then.
// Clocks of different sessions are spread over the gap by their phase, so that a tick wanted by thousands does not
// make all of them due at once for ever after.
type clock struct {
	next   int64    // not before
	low    uint64   // bit i: s.subs[i] has something to send
	s      *Session // whose it is
	queued bool     // to be written in this round, or as soon as the session is not blocked
	waits  bool     // on the wheel
	fresh  bool     // its next write comes at once, after a pause
	rate   int32    // max_rate; 0: the edge's write gap
	gap    int64    // nanoseconds between two writes; 0: none
	phase  int64    // of the writes in the gap
	high   []uint64 // low for s.subs[64] and on
	n      int      // subscriptions
	other  *clock   // the session's next one
}

func (c *clock) init(s *Session, rate int, gap time.Duration) {
	c.s, c.rate, c.gap = s, int32(rate), int64(gap)
	if rate > 0 {
		c.gap = int64(time.Second) / int64(rate)
	}
	if c.gap > 0 {
		c.phase = rand.Int64N(c.gap)
	}
}

// wrote moves next to the clock's phase, one gap on: three quarters of it at least, as after a pause a write comes at any
// time, and the one after it should be back in phase. A write may be a quarter of a gap late without losing its turn. That
// is less than the wheel may be with a gap below 25 ms: there it may be three quarters, or half of the connections with a
// max_rate of 100 would be written to 50 times a second.
//
// Where nobody asked for a rate a quarter of a gap will do after a pause: the second write is what most of that waits for
// which ticks now and then.
func (c *clock) wrote(now int64) {
	if c.gap == 0 {
		return
	}
	late, least := c.gap/4, c.gap*3/4
	if c.gap < 5*int64(slot) {
		late = c.gap * 3 / 4
	}
	if c.fresh && c.rate == 0 {
		late, least = c.gap*3/4, c.gap/4
	}
	c.fresh = false
	k := (now - late - c.phase + 2*c.gap - 1) / c.gap
	c.next = max(c.phase+k*c.gap, now+least)
}

func (c *clock) set(i uint32) {
	if i < 64 {
		c.low |= 1 << i
		return
	}
	i -= 64
	for int(i>>6) >= len(c.high) {
		c.high = append(c.high, 0)
	}
	c.high[i>>6] |= 1 << (i & 63)
}

func (c *clock) has(i uint32) bool {
	if i < 64 {
		return c.low&(1<<i) != 0
	}
	i -= 64
	return int(i>>6) < len(c.high) && c.high[i>>6]&(1<<(i&63)) != 0
}

func (c *clock) unset(i uint32) bool {
	if !c.has(i) {
		return false
	}
	if i < 64 {
		c.low &^= 1 << i
	} else {
		c.high[(i-64)>>6] &^= 1 << (i & 63)
	}
	return true
}

func (c *clock) any() bool {
	if c.low != 0 {
		return true
	}
	for _, w := range c.high {
		if w != 0 {
			return true
		}
	}
	return false
}

// each yields each dirty subscription, in order.
func (c *clock) each(yield func(i uint32) bool) {
	for x := c.low; x != 0; x &= x - 1 {
		if !yield(uint32(bits.TrailingZeros64(x))) {
			return
		}
	}
	for w, x := range c.high {
		for ; x != 0; x &= x - 1 {
			if !yield(uint32(64 + w<<6 + bits.TrailingZeros64(x))) {
				return
			}
		}
	}
}

// clockOf is the session's clock of that max_rate.
func (s *Session) clockOf(rate int) *clock {
	last := &s.plain
	for c := last; c != nil; c = c.other {
		if c.rate == int32(rate) {
			return c
		}
		last = c
	}
	last.other = &clock{}
	last.other.init(s, rate, 0)
	return last.other
}

// find is the subscription to t, or -1. A scan: connections have some dozen symbols, and the thousandth costs less than
// the map that would find it at once costs every connection.
func (s *Session) find(t *topic) int {
	for i := range s.subs {
		if s.subs[i].t == t {
			return i
		}
	}
	return -1
}

// Subscription of one topic as a request asks for it.
type want struct {
	t     *topic
	every bool
	rate  int
	after tick.Position
}

// apply makes or replaces the subscription and marks its snapshot.
func (s *Session) apply(w want, i int, now int64) {
	clk := s.clockOf(w.rate)
	more := 0 // to whom the topic's traced tick is still to be written
	if i < 0 {
		i = len(s.subs)
		s.subs = append(s.subs, sub{t: w.t, clock: clk, pos: w.t.subscribe(subref{clk, uint32(i), w.every})})
	} else {
		old := &s.subs[i]
		if old.lacked(uint32(i)) {
			more--
		}
		old.clock.unset(uint32(i))
		old.clock.n--
		if old.every != nil {
			w.t.dropEvery()
		}
		old.clock, old.every, old.sent = clk, nil, 0 // the client forgets the last tick, too
		w.t.subs[old.pos] = subref{clk, uint32(i), w.every}
	}
	clk.n++
	if w.every {
		w.t.addEvery(now)
		s.subs[i].every = &reader{at: startOf(w.t, w.after)}
	}
	if w.t.priced() && w.t.live {
		clk.set(uint32(i))
	}
	if s.subs[i].lacked(uint32(i)) {
		more++
	}
	if more != 0 {
		s.bucket.count(w.t.traced, more, 0)
	}
	s.dropClocks()
}

// startOf is the position after which a new reader reads: what it has already, or what comes before the newest tick,
// which then is its snapshot; the very start while the newest is not known.
func startOf(t *topic, after tick.Position) tick.Position {
	if after != (tick.Position{}) || !t.priced() || !t.live {
		return after
	}
	return tick.Position{Epoch: t.newest.Epoch, Seq: t.newest.Seq - 1}
}

// remove ends subscription i; the last one takes its place.
func (s *Session) remove(i int) {
	u := s.subs[i]
	if u.lacked(uint32(i)) {
		s.bucket.count(u.t.traced, -1, 0)
	}
	u.clock.unset(uint32(i))
	u.clock.n--
	if u.every != nil {
		u.t.dropEvery()
	}
	u.t.unsubscribe(u.pos)
	if last := len(s.subs) - 1; i < last {
		m := s.subs[last]
		s.subs[i] = m
		m.t.subs[m.pos].i = uint32(i)
		if m.clock.unset(uint32(last)) {
			m.clock.set(uint32(i))
		}
	}
	s.subs[len(s.subs)-1] = sub{}
	s.subs = s.subs[:len(s.subs)-1]
	s.dropClocks()
}

// dropClocks forgets rates that nobody has any more. One on the wheel fires into nothing.
func (s *Session) dropClocks() {
	for c := &s.plain; c.other != nil; {
		if c.other.n == 0 {
			c.other = c.other.other
		} else {
			c = c.other
		}
	}
}

// unpriced counts the subscriptions of symbols that are known to have no price.
func (s *Session) unpriced() (n int) {
	for i := range s.subs {
		if t := s.subs[i].t; t.live && !t.priced() {
			n++
		}
	}
	return n
}

// say sends an answer ahead of any tick.
func (s *Session) say(m *session.Message) { s.answer(s.dialect.AppendMessage(nil, m)) }

// answer is say for what is encoded already. An answer that finds no room ends the connection, which may come back: what
// follows a lost one could not be understood (Compact's numbers).
func (s *Session) answer(frame []byte) {
	if errors.Is(s.out.Say(frame), socket.ErrFull) {
		s.End(code.InternalError, "no room for an answer")
	}
}

// Bucket is where the session has its place.
func (s *Session) Bucket() *Bucket { return s.bucket }

// Open makes a session for a place that Reserve took. Start must follow.
func (b *Bucket) Open(d Dialect) *Session {
	s := &Session{bucket: b, dialect: d, numbered: d.Index() == int(session.Compact), gone: true}
	s.plain.init(s, 0, b.o.WriteGap)
	return s
}

// Start hands the session to the worker, with the way to its client.
func (s *Session) Start(out Outlet) {
	s.out = out
	if !s.bucket.push(command{kind: opened, s: s}) {
		s.sendAway()
	}
}

// sendAway tells the client to come back, spread over two seconds, and closes: the edge stops.
func (s *Session) sendAway() {
	s.say(&session.Message{Op: session.OpReconnect, AfterMS: 1 + rand.Int64N(2000), Reason: "shutdown"})
	s.End(code.Drain, "shutdown")
}

// Writable says that the refused outlet can be written to again.
func (s *Session) Writable() { s.bucket.push(command{kind: writable, s: s}) }

// Close says that the client has gone.
func (s *Session) Close() { s.bucket.push(command{kind: closed, s: s}) }

// Do carries out a request and calls done, from any goroutine, when it has been answered. One at a time: so answers come
// in the order of the requests, and a client that sends faster than it is served waits in its own socket.
func (s *Session) Do(r *session.Request, done func()) {
	s.bucket.o.Stats.Requests.Add(1)
	if r.Op == session.OpPing {
		s.say(&session.Message{Op: session.OpPong, ID: r.ID, TS: time.Now().UnixMicro()})
		done()
		return
	}
	if !s.bucket.push(command{kind: operate, s: s, req: r, done: done}) {
		done() // the worker has ended, and has told the client to come back
	}
}

// Refuse answers a request that cannot be carried out. A client with nothing but faults is closed; what cannot be done now
// is no fault of his.
func (s *Session) Refuse(id *int64, err error) {
	e := code.Of(err)
	s.bucket.o.Stats.CountRefused(e.Code)
	if e.Code != code.Unavailable && s.errors.Add(1) >= session.MaxErrors {
		s.End(code.TooManyErrors, "100 refused messages")
		return
	}
	s.say(&session.Message{Op: session.OpError, ID: id, Code: e.Code, Message: e.Message})
}

// End closes the connection from our side.
func (s *Session) End(c code.Close, reason string) {
	if s.ending.Swap(true) {
		return
	}
	s.bucket.o.Stats.ended(c)
	s.out.End(s.dialect.AppendClose(nil, c, reason))
}

// Ended counts how the connection ended, unless it was we who ended it.
func (s *Session) Ended(c code.Close) {
	if !s.ending.Swap(true) {
		s.bucket.o.Stats.ended(c)
	}
}
