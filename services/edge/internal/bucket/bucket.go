package bucket

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tickfan/tickfan/libs/quiet"
	"github.com/tickfan/tickfan/libs/telemetry"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

// Capacity is how many connections a bucket takes.
const Capacity = 10000

// pendingMsgs is how many NATS messages may wait for a worker. A batch comes every 2 ms at most, so this is seconds of
// a worker that does not run; beyond it they are dropped, and the newest of everything is asked for.
const pendingMsgs = 8192

// logEvery is the least time between two log lines of one kind.
const logEvery = 10 * time.Second

// checkEvery is how often deadlines are looked at: those of questions, of subscribes, of topics that nobody needs.
const checkEvery = 250 * time.Millisecond

// Options of a bucket.
type Options struct {
	ID       subject.Bucket
	Region   subject.Region
	Tracer   *telemetry.Tracer // nil when nobody collects traces
	Traces   *telemetry.Cap    // of subscribes
	WriteGap time.Duration     // least time between two writes to a connection, unless it gave a max_rate
	Idle     time.Duration     // a connection without a sign of life for so long is closed
	NATS     *nats.Conn
	Log      *slog.Logger
	Stats    *Stats
	Now      func() int64 // monotonic nanoseconds
}

// Bucket is a worker and its connections.
type Bucket struct {
	o     Options
	inbox string // answers to what the worker asks come on <inbox>.<what>.<number>
	msgs  chan *nats.Msg
	subs  []*nats.Subscription

	mu       sync.Mutex
	commands []command
	stopped  bool
	wake     chan struct{}
	done     chan struct{} // closed when the worker has ended

	conns   atomic.Int64
	symbols atomic.Int64
	waiting atomic.Int64
	written [subject.Parts]atomic.Pointer[answered] // per part the last change that the registry answered; nil: none

	// The worker's own.
	topics               map[subject.Symbol]*topic
	numbers              numbers
	emptied              *draining // nil until the edge drains
	sessions             [visitSlots][]*Session
	visit                int // next slot of sessions to look at
	round                uint8
	wheel                wheel
	due                  []*clock // to be flushed in this round
	touched              int64
	writes               int // of ticks
	flush                flush
	pending              []*pending
	recheck              bool // something that pending operations wait for has changed
	nextCheck, nextVisit int64
	interest             interest
	feed                 feed
	traces               []*traced
	log                  *quiet.Log
}

type command struct {
	kind  commandKind
	s     *Session
	req   *session.Request
	reply chan tick.Tick
	done  func()
	until int64
}

type commandKind uint8

const (
	opened commandKind = iota
	closed
	writable
	operate
	query
	drain
	resync
	resend
)

// New subscribes to the bucket's batches. Run must follow.
func New(o Options) (*Bucket, error) {
	b := &Bucket{
		o:      o,
		inbox:  nats.NewInbox(),
		msgs:   make(chan *nats.Msg, pendingMsgs),
		wake:   make(chan struct{}, 1),
		done:   make(chan struct{}),
		topics: map[subject.Symbol]*topic{},
		log:    quiet.New(o.Log.With("bucket", o.ID), logEvery),
	}
	b.interest.init()
	b.feed.init()
	for _, s := range []string{subject.Fanout(o.Region, o.ID), b.inbox + ".>"} {
		sub, err := o.NATS.ChanSubscribe(s, b.msgs)
		if err != nil {
			b.unsubscribe()
			return nil, fmt.Errorf("subscribe %s: %w", s, err)
		}
		b.subs = append(b.subs, sub)
	}
	return b, nil
}

func (b *Bucket) unsubscribe() {
	for _, s := range b.subs {
		_ = s.Unsubscribe()
	}
}

// ID is the bucket's name.
func (b *Bucket) ID() subject.Bucket { return b.o.ID }

// Connections is how many sessions the bucket has.
func (b *Bucket) Connections() int { return int(b.conns.Load()) }

// Waiting is about how many connections are to be written to later, by the write gap or their max_rate. One with several
// rates counts for each, and one that was written with an answer, or went, until its turn has passed.
func (b *Bucket) Waiting() int { return int(b.waiting.Load()) }

// Subscriptions are those that batches and answers come on, for their drop counters.
func (b *Bucket) Subscriptions() (fanout, answers *nats.Subscription) { return b.subs[0], b.subs[1] }

// dropped is how many messages the worker was too slow to take.
func (b *Bucket) dropped() (n int) {
	for _, s := range b.subs {
		if d, err := s.Dropped(); err == nil { // else it has ended, and so does the worker
			n += d
		}
	}
	return n
}

// Snapshot is the bucket as its edge's heartbeat tells it.
func (b *Bucket) Snapshot() control.BucketSnapshot {
	s := control.BucketSnapshot{Bucket: b.o.ID, Connections: b.Connections(), Symbols: int(b.symbols.Load())}
	for p := range b.written {
		if a := b.written[p].Load(); a != nil {
			if s.Parts == nil {
				s.Parts, s.Digests = map[int]uint64{}, map[int]uint32{}
			}
			s.Parts[p], s.Digests[p] = a.number, a.digest
		}
	}
	return s
}

// push hands a command to the worker; false when it has ended.
func (b *Bucket) push(c command) bool {
	b.mu.Lock()
	ok := !b.stopped
	if ok {
		b.commands = append(b.commands, c)
	}
	b.mu.Unlock()
	if ok {
		select {
		case b.wake <- struct{}{}:
		default:
		}
	}
	return ok
}

// Reserve takes a place in the bucket; false when it is full. Release gives it back.
func (b *Bucket) Reserve() bool {
	if b.conns.Add(1) > Capacity {
		b.conns.Add(-1)
		return false
	}
	return true
}

// Release gives back what Reserve took.
func (b *Bucket) Release() { b.conns.Add(-1) }

// Query gives the newest tick of a symbol if the bucket has it live.
func (b *Bucket) Query(ctx context.Context, s subject.Symbol) (tick.Tick, bool) {
	reply := make(chan tick.Tick, 1)
	if !b.push(command{kind: query, req: &session.Request{Symbols: []subject.Symbol{s}}, reply: reply}) {
		return tick.Tick{}, false
	}
	select {
	case t := <-reply:
		return t, t.Price.Given()
	case <-ctx.Done():
	case <-b.done:
	}
	return tick.Tick{}, false
}

// Resync asks for the newest value of everything: messages may have been lost.
func (b *Bucket) Resync() { b.push(command{kind: resync}) }

// Resend sends the whole interest again: the registry has lost it.
func (b *Bucket) Resend() { b.push(command{kind: resend}) }

// Drain tells the clients one after the other, evenly until then, to go to another edge. They are served until they do.
func (b *Bucket) Drain(within time.Duration) {
	b.push(command{kind: drain, until: b.o.Now() + int64(within)})
}

// Run is the worker. It returns when ctx ends, after telling every client to come back.
//
//	msgs ──► feed: table, rings ──► mark dirty ──► due ──► flush ──► sockets
//	commands ──► sessions, subscriptions ──► interest ──► registry
//	wheel: rates    every 250 ms: deadlines    every idle/240: pings, idle
func (b *Bucket) Run(ctx context.Context) error {
	defer b.stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case m := <-b.msgs:
			b.receive(m)
			b.drain()
		case <-b.wake:
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
		b.work()
		timer.Reset(time.Duration(b.nextWake() - b.o.Now()))
	}
}

// drain takes what NATS has delivered meanwhile, so that a burst is one flush. Bounded, so that a flood of batches does
// not keep the sockets waiting.
func (b *Bucket) drain() {
	for range 256 {
		select {
		case m := <-b.msgs:
			b.receive(m)
		default:
			return
		}
	}
}

func (b *Bucket) work() {
	b.mu.Lock()
	commands := b.commands
	b.commands = nil
	b.mu.Unlock()
	for i := range commands {
		b.do(&commands[i])
	}
	now := b.o.Now()
	b.wheel.fire(now, b.fired)
	if now >= b.nextVisit {
		b.visitSessions(now)
	}
	b.feed.holes.check(b, now)
	if now >= b.nextCheck {
		b.nextCheck = now - now%int64(checkEvery) + int64(checkEvery)
		b.feed.check(b, now)
		b.sweepTopics(now)
		b.sweepTraces(now)
		b.recheck = true
	}
	if b.emptied != nil {
		b.emptied.tell(now)
	}
	b.syncInterest(now)
	if b.recheck {
		b.recheck = false
		b.completePending(now)
	}
	b.flushDue(now)
}

func (b *Bucket) nextWake() int64 {
	t := min(b.nextCheck, b.nextVisit, b.feed.holes.due())
	if w, ok := b.wheel.next(); ok {
		t = min(t, w)
	}
	if b.emptied != nil {
		t = min(t, b.emptied.next())
	}
	return t
}

func (b *Bucket) do(c *command) {
	now := b.o.Now()
	switch c.kind {
	case opened:
		b.addSession(c.s)
		b.unblock(c.s, now) // it may have been refused and become writable again before this
	case closed:
		b.dropSession(c.s, now)
	case writable:
		b.unblock(c.s, now)
	case operate:
		if c.s.gone {
			c.done()
			return
		}
		b.operate(c.s, c.req, c.done, now)
	case query:
		var t tick.Tick
		if tp := b.topics[c.req.Symbols[0]]; tp != nil && tp.live {
			t = tp.newest
		}
		c.reply <- t
	case drain:
		b.beginDrain(now, c.until)
	case resync:
		b.feed.resync(b, now)
	case resend:
		b.resend()
	}
}

// stop ends the worker: clients are told to come back.
func (b *Bucket) stop() {
	b.unsubscribe()
	b.mu.Lock()
	b.stopped = true
	commands := b.commands
	b.commands = nil
	b.mu.Unlock()
	for i := range commands {
		switch c := &commands[i]; c.kind {
		case opened:
			b.addSession(c.s)
		case operate:
			c.done()
		}
	}
	for _, p := range b.pending {
		p.done()
	}
	b.stopTraces()
	for _, slot := range b.sessions {
		for _, s := range slot {
			s.sendAway()
		}
	}
	close(b.done)
}

// receive tells messages apart by their subject: answers come on the worker's inbox, anything else is a batch.
func (b *Bucket) receive(m *nats.Msg) {
	now := b.o.Now()
	if rest, ok := cutPrefix(m.Subject, b.inbox); ok {
		what, id, _ := cutToken(rest)
		n, _ := strconv.ParseUint(id, 10, 64)
		switch what {
		case askInterest:
			b.interestAnswered(m, n, now)
		case askNewest:
			b.feed.answered(b, m, n, now)
		case askRange:
			b.feed.holes.answered(b, m, n, now)
		}
		return
	}
	b.feed.batch(b, m.Data, now)
}

// warn logs what may repeat with every message.
func (b *Bucket) warn(msg string, args ...any) { b.log.Warn(msg, msg, args...) }
