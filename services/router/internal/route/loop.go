package route

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tickfan/tickfan/libs/interest"
	"github.com/tickfan/tickfan/libs/newest"
	"github.com/tickfan/tickfan/proto/subject"
)

const (
	// backlog is how many messages may wait for the loop: half a second of 100,000 ticks a second, and 20 MB or so.
	// Beyond it messages are dropped, and the loss is repaired.
	backlog = 64 << 10

	// burst is how many messages are taken before what they came to is sent. Taking what is there first lets ticks
	// that came together leave together, at the price of some 0.1 ms for the first of them.
	burst = 256

	// sayEvery is the number of turns between two beats of the router: 500 ms.
	sayEvery = int(500 * time.Millisecond / TurnEvery)
)

// ErrEnded says that the loop has ended.
var ErrEnded = errors.New("router's loop has ended")

// Loop is the one goroutine that owns a Router.
//
//	ticks.> beat interest.<region> router.<region>.newest .beat --one channel, in order--> Router --> Publish
//	KV changes, stored ticks ------------------------------------handed over------------->
//
// All that comes by NATS comes through one channel, so an announcement that arrived before a request is applied before
// the request is answered, and a tick that arrived before a beat is taken before it.
type Loop struct {
	router   *Router
	lost     func()
	interest string // subjects
	newest   string
	peers    string

	msgs    chan *nats.Msg
	changes chan interest.Change
	steps   chan step
	done    chan struct{}

	// A step that came while messages waited is taken after those: what was read from TICKS is newer than a tick that
	// waits, which would be dropped as old, and a client that takes every tick would miss it.
	held   *step
	behind int // messages still before it

	ticks   *nats.Subscription // nil before Subscribe
	dropped int                // by it, when last looked at
	turn    time.Time          // when the next is due
	turns   int
}

// step is work from another goroutine; done is closed once it is done.
type step struct {
	do   func(now time.Time)
	done chan struct{}
}

// NewLoop makes a Loop. lost is called on the loop's goroutine, and must not block, when ticks were dropped because the
// loop was too slow.
func NewLoop(r *Router, lost func()) *Loop {
	return &Loop{
		router:   r,
		lost:     lost,
		interest: subject.Interest(r.o.Region),
		newest:   subject.RouterNewest(r.o.Region),
		peers:    subject.RouterBeat(r.o.Region),
		msgs:     make(chan *nats.Msg, backlog),
		changes:  make(chan interest.Change),
		steps:    make(chan step),
		done:     make(chan struct{}),
	}
}

// Subscribe makes what is heard on nc come to the loop. Call it before Run. The caller ends the subscriptions, which
// are given with a name each.
func (l *Loop) Subscribe(nc *nats.Conn) (map[string]*nats.Subscription, error) {
	subs := map[string]*nats.Subscription{}
	for name, subj := range map[string]string{"ticks": subject.TicksAll, "beat": subject.Beat, "interest": l.interest, "peers": l.peers} {
		sub, err := nc.ChanSubscribe(subj, l.msgs)
		if err != nil {
			return subs, fmt.Errorf("subscribe %s: %w", subj, err)
		}
		subs[name] = sub
	}
	l.ticks = subs["ticks"]
	return subs, nil
}

// SubscribeNewest makes the router answer requests for newest ticks. Call it once Serve is done.
func (l *Loop) SubscribeNewest(nc *nats.Conn) (*nats.Subscription, error) {
	sub, err := nc.ChanQueueSubscribe(l.newest, subject.QueueRouters, l.msgs)
	if err != nil {
		return nil, fmt.Errorf("subscribe %s: %w", l.newest, err)
	}
	return sub, nil
}

// Change hands a change of the KV over; it returns once the loop has taken it, or has ended.
func (l *Loop) Change(c interest.Change) {
	select {
	case l.changes <- c:
	case <-l.done:
	}
}

// Fill hands over what was read from TICKS and returns when it is in the table.
func (l *Loop) Fill(ctx context.Context, ticks []newest.Tick) error {
	return l.step(ctx, func(now time.Time) { l.router.Fill(ticks, now) })
}

// Serve makes the router send, and returns once it does.
func (l *Loop) Serve(ctx context.Context) error {
	return l.step(ctx, func(now time.Time) { l.router.Serve(now) })
}

// Hello makes the router known to the others, who answer at once: so it knows whose the buckets are before it serves.
func (l *Loop) Hello(ctx context.Context) error {
	return l.step(ctx, func(time.Time) { l.router.Say() })
}

// Leave says that the router stops soon, and tells whether others take over what it serves.
func (l *Loop) Leave(ctx context.Context) (others bool) {
	told := make(chan bool, 1) // ctx may end before the step
	if l.step(ctx, func(time.Time) { told <- l.router.Leave() }) != nil {
		return false
	}
	return <-told
}

func (l *Loop) step(ctx context.Context, do func(time.Time)) error {
	s := step{do, make(chan struct{})}
	select {
	case l.steps <- s:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-l.done:
		return ErrEnded
	}
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-l.done:
		return ErrEnded
	}
}

// Run is the loop. When ctx ends it takes what has arrived, sends all that waits, says that the router leaves, and
// returns.
func (l *Loop) Run(ctx context.Context) {
	defer close(l.done)
	l.turn = time.Now().Add(TurnEvery)
	timer := time.NewTimer(TurnEvery)
	defer timer.Stop()
	for {
		steps := l.steps
		if l.held != nil {
			steps = nil // one at a time, in order
		}
		select {
		case m := <-l.msgs:
			l.take(m)
			l.drain(burst - 1)
		case c := <-l.changes:
			l.change(c)
		case s := <-steps:
			l.hold(s)
		case <-timer.C:
		case <-ctx.Done():
			l.drain(len(l.msgs))
			l.router.Finish(time.Now())
			return
		}
		now := time.Now()
		if !now.Before(l.turn) {
			l.doTurn(now)
		}
		next := l.turn
		if due := l.router.Flush(now); !due.IsZero() && due.Before(next) {
			next = due
		}
		timer.Reset(next.Sub(now))
	}
}

// drain takes up to n messages that have arrived.
func (l *Loop) drain(n int) {
	for range n {
		select {
		case m := <-l.msgs:
			l.take(m)
		default:
			return
		}
	}
}

func (l *Loop) take(m *nats.Msg) {
	now := time.Now()
	// nats.go makes a payload for each message, so the table may keep it.
	switch m.Subject {
	case subject.Beat:
		l.router.Beat(m.Data, now)
	case l.interest:
		if m.Header != nil {
			l.router.tracedAnnouncement(m, now)
		} else {
			l.router.Announcement(m.Data, now)
		}
	case l.peers:
		l.router.PeerBeat(m.Data, now)
	case l.newest:
		l.router.Newest(m.Subject, m.Reply, m.Data)
	default:
		if m.Header != nil {
			l.router.traced(m, now)
		} else {
			l.router.Tick(m.Subject, m.Data, now)
		}
	}
	if l.held != nil {
		if l.behind--; l.behind <= 0 {
			l.release(now)
		}
	}
}

func (l *Loop) change(c interest.Change) {
	switch {
	case c.Lost:
		l.router.Lost(c.Bucket, c.Part, time.Now())
	case c.Gone:
		l.router.Remove(c.Bucket, c.Part)
	default:
		l.router.Store(c.Bucket, c.Part, c.PartValue)
	}
}

func (l *Loop) hold(s step) {
	l.held, l.behind = &s, len(l.msgs)
	if l.behind == 0 {
		l.release(time.Now())
	}
}

func (l *Loop) release(now time.Time) {
	l.held.do(now)
	close(l.held.done)
	l.held = nil
}

func (l *Loop) doTurn(now time.Time) {
	l.router.Turn(now)
	if l.turns++; l.turns%sayEvery == 0 {
		l.router.Say()
	}
	// The error handler of NATS tells only the first drop of an episode, so the count is looked at.
	if l.ticks != nil {
		if n, err := l.ticks.Dropped(); err == nil && n > l.dropped {
			l.dropped = n
			l.lost()
		}
	}
	if l.turn = l.turn.Add(TurnEvery); l.turn.Before(now) {
		l.turn = now.Add(TurnEvery)
	}
}
