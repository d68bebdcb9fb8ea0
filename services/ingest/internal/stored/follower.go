package stored

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/libs/quiet"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

const (
	// due is how long after it was stamped a tick should be in TICKS. After it it is published again, then after twice as
	// long each time, up to longest: while JetStream is away nothing helps.
	due     = time.Second
	longest = time.Minute

	// WaitTime is how long Wait waits at most.
	WaitTime = 2 * time.Second

	expireEvery = 250 * time.Millisecond
	lookEvery   = 4 // of expireEvery: a look holds the stamper up, some 0.1 us a symbol
	deafAfter   = 5 * time.Second
	heartbeat   = 5 * time.Second
	logEvery    = 10 * time.Second

	// forgotten is when the server itself removes a consumer that nobody reads from.
	forgotten = 30 * time.Second
)

var errLost = errors.New("messages were lost on their way")

// Stamper is who stamps.
type Stamper interface {
	Epoch() uint64 // 0: it does not
	Newest(func(s subject.Symbol, p tick.Position, at int64))
	Again(s subject.Symbol, p tick.Position) bool
}

// Options of a Follower.
type Options struct {
	JetStream jetstream.JetStream
	Stamper   Stamper
	Log       *slog.Logger
	Now       func() time.Time
}

// Follower is the watch over TICKS.
//
//	TICKS --each message, in its order--> stands: the last position of each symbol there
//	every second: a newest tick that is a second old and does not stand --> Again
type Follower struct {
	o      Options
	faults *quiet.Log
	again  atomic.Int64

	mu      sync.Mutex
	heard   time.Time // when a message last came
	begin   uint64    // the sequence in TICKS from which the next epoch is followed; see From
	next    uint64    // the sequence that comes next; 0: what is new
	behind  uint64    // messages that stood when the reading began and have not come yet
	broken  bool      // the reading that is under way is of no more use
	stands  map[subject.Symbol]stand
	tries   map[subject.Symbol]try // of those that did not come to stand in time
	waiting map[subject.Symbol][]waiter
}

// stand is what TICKS is known to hold of a symbol: the position of its last message, and from where to where all have come.
type stand struct {
	last     tick.Position
	from, to tick.Position // of one epoch
}

func (s *stand) add(p tick.Position) {
	s.last = p
	switch {
	case s.holds(p): // again
	case p.Epoch == s.to.Epoch && p.Seq == s.to.Seq+1:
		s.to = p
	default:
		s.from, s.to = p, p
	}
}

func (s *stand) holds(p tick.Position) bool {
	return p.Epoch == s.to.Epoch && s.from.Seq <= p.Seq && p.Seq <= s.to.Seq
}

type try struct {
	at   tick.Position
	n    int
	next time.Time
}

type waiter struct {
	at    tick.Position
	until time.Time
	done  func(stored bool)
}

// New makes a Follower; Run does the work.
func New(o Options) *Follower {
	return &Follower{o: o, faults: quiet.New(o.Log, logEvery), stands: map[subject.Symbol]stand{},
		tries: map[subject.Symbol]try{}, waiting: map[subject.Symbol][]waiter{}}
}

// From says which sequence of TICKS comes next at a moment before an epoch begins. Following starts a moment after it has:
// what came to stand meanwhile must not be taken for lost. 0: nobody knows.
func (f *Follower) From(seq uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.begin = seq
}

// Again is how many ticks were published again.
func (f *Follower) Again() int64 { return f.again.Load() }

// Wait calls done, once, when TICKS holds a tick, or after WaitTime. It does not block, and done must not.
func (f *Follower) Wait(s subject.Symbol, p tick.Position, done func(stored bool)) {
	f.mu.Lock()
	if known := f.stands[s]; known.holds(p) {
		f.mu.Unlock()
		done(true)
		return
	}
	f.waiting[s] = append(f.waiting[s], waiter{p, f.o.Now().Add(WaitTime), done})
	f.mu.Unlock()
}

// Run follows while the stamper stamps, until ctx ends.
func (f *Follower) Run(ctx context.Context) error {
	var all sync.WaitGroup
	all.Go(func() { f.expireEach(ctx) }) // not held up by a JetStream that does not answer
	defer func() { all.Wait(); f.giveUp() }()
	ticker := time.NewTicker(expireEvery)
	defer ticker.Stop()
	var epoch uint64
	var stop func() // nil: TICKS is not followed
	end := func() {
		if stop != nil {
			stop()
			stop = nil
		}
	}
	defer end()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if now := f.o.Stamper.Epoch(); now != epoch {
			end()
			f.forget()
			epoch = now
		}
		if stop != nil && f.isOver() {
			end()
		}
		switch {
		case stop != nil && n%lookEvery == 0:
			f.look()
		case stop == nil && epoch != 0:
			var err error
			if stop, err = f.follow(ctx); err != nil && ctx.Err() == nil {
				f.faults.Warn("follow", "TICKS cannot be followed; trying again", "error", err)
			}
		}
	}
}

// isOver tells whether TICKS has to be followed anew: from where that was lost, or from what is new if ticks are late and
// nothing has been heard for long. A stream that was put back to an older state, or made anew, counts its messages below
// where they are read on.
func (f *Follower) isOver() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	deaf := len(f.tries) > 0 && f.o.Now().Sub(f.heard) > deafAfter
	if deaf {
		f.next = 0
	}
	return deaf || f.broken
}

// follow reads each message of TICKS, from now on or from the next one. It is not nats.go's ordered consumer, whose Stop
// waits for JetStream, 20 s and more, and whose goroutines outlive the connection.
func (f *Follower) follow(ctx context.Context) (stop func(), err error) {
	cfg := jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverNewPolicy,
		AckPolicy:         jetstream.AckNonePolicy,
		InactiveThreshold: forgotten,
		MemoryStorage:     true,
		Replicas:          1,
	}
	f.mu.Lock()
	if f.next > 0 {
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, f.next
	}
	f.heard, f.broken = f.o.Now(), false
	f.mu.Unlock()
	ask, cancel := context.WithTimeout(ctx, due)
	defer cancel()
	c, err := f.o.JetStream.CreateConsumer(ask, subject.StreamTicks, cfg)
	if err != nil {
		return nil, fmt.Errorf("follow %s: %w", subject.StreamTicks, err)
	}
	f.mu.Lock()
	f.behind = c.CachedInfo().NumPending
	f.mu.Unlock()
	had := uint64(0) // messages that came
	following, err := c.Consume(func(m jetstream.Msg) {
		meta, err := m.Metadata()
		if err != nil {
			f.fail(fmt.Errorf("read metadata of %s: %w", m.Subject(), err))
			return
		}
		if had++; meta.Sequence.Consumer != had {
			f.fail(errLost)
			return
		}
		f.message(m, meta.Sequence.Stream)
	}, jetstream.PullHeartbeat(heartbeat), jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) { f.fail(err) }))
	if err != nil {
		return nil, fmt.Errorf("follow %s: %w", subject.StreamTicks, err)
	}
	return func() { following.Stop(); <-following.Closed() }, nil
}

// fail ends a reading; Run begins another.
func (f *Follower) fail(err error) {
	f.faults.Log(slog.LevelInfo, "consume", "TICKS is followed anew", "error", err) // a warning follows if it cannot be
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken = true
}

func (f *Follower) message(m jetstream.Msg, seq uint64) {
	f.mu.Lock()
	f.heard, f.next = f.o.Now(), seq+1
	f.behind -= min(f.behind, 1)
	f.mu.Unlock()
	h, err := tick.DecodeHead(m.Data())
	if err != nil || subject.Ticks(subject.Symbol(h.Symbol)) != m.Subject() {
		return // somebody else's
	}
	f.stored(subject.Symbol(h.Symbol), h.Position)
}

func (f *Follower) stored(s subject.Symbol, p tick.Position) {
	f.mu.Lock()
	known := f.stands[s]
	known.add(p)
	f.stands[s] = known
	over := f.endLocked(s, func(w waiter) bool {
		return known.holds(w.at) || p.After(w.at) // TICKS keeps order: it will not come any more
	})
	f.mu.Unlock()
	for _, w := range over {
		w.done(known.holds(w.at))
	}
}

// endLocked takes those out who need not wait any longer.
func (f *Follower) endLocked(s subject.Symbol, over func(waiter) bool) (ended []waiter) {
	if len(f.waiting[s]) == 0 { // nearly always
		return nil
	}
	rest := slices.DeleteFunc(f.waiting[s], func(w waiter) bool {
		if !over(w) {
			return false
		}
		ended = append(ended, w)
		return true
	})
	if f.waiting[s] = rest; len(rest) == 0 {
		delete(f.waiting, s)
	}
	return ended
}

// catchesUp tells whether it is still to hear what came to stand before it listened.
func (f *Follower) catchesUp(now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.behind > 0 && now.Sub(f.heard) < deafAfter // else they are gone from TICKS meanwhile
}

// look publishes again what is due.
func (f *Follower) look() {
	now := f.o.Now()
	if f.catchesUp(now) {
		return
	}
	type late struct {
		s subject.Symbol
		p tick.Position
	}
	var all []late
	f.o.Stamper.Newest(func(s subject.Symbol, p tick.Position, at int64) {
		// What comes from the future was stamped before the clock was set back: nobody knows when.
		if age := now.UnixMicro() - at; (age >= due.Microseconds() || age < 0) && f.isLate(s, p, now) {
			all = append(all, late{s, p})
		}
	})
	for _, l := range all {
		if f.o.Stamper.Again(l.s, l.p) {
			f.again.Add(1)
		}
	}
	if len(all) > 0 {
		f.faults.Warn("again", "ticks did not come to stand in TICKS; published again", "ticks", len(all), "symbol", all[0].s)
	}
}

// expireEach ends waits when they have taken too long, until ctx ends.
func (f *Follower) expireEach(ctx context.Context) {
	ticker := time.NewTicker(expireEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			f.expire()
		}
	}
}

// expire ends the waits that have taken too long.
func (f *Follower) expire() {
	for _, w := range f.expired(f.o.Now()) {
		w.done(false)
	}
}

// isLate tells whether a tick does not stand and it is time to publish it again.
func (f *Follower) isLate(s subject.Symbol, p tick.Position, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if last := f.stands[s].last; !p.After(last) { // one after it is another leader's, of whom we are about to hear
		delete(f.tries, s)
		return false
	}
	t := f.tries[s]
	if t.at != p {
		t = try{at: p}
	}
	if now.Before(t.next) {
		return false
	}
	t.next = now.Add(min(due<<t.n, longest))
	if due<<t.n < longest {
		t.n++
	}
	f.tries[s] = t
	return true
}

func (f *Follower) expired(now time.Time) (all []waiter) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.waiting {
		all = append(all, f.endLocked(s, func(w waiter) bool { return !now.Before(w.until) })...)
	}
	return all
}

// forget begins anew, for another epoch. Who waits for a tick of the one before goes on waiting.
func (f *Follower) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next, f.behind = f.begin, 0
	clear(f.stands)
	clear(f.tries)
}

// giveUp ends all waits.
func (f *Follower) giveUp() {
	for _, w := range f.expired(f.o.Now().Add(2 * WaitTime)) {
		w.done(false)
	}
}
