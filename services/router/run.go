package router

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/libs/bus"
	"github.com/tickfan/tickfan/libs/interest"
	"github.com/tickfan/tickfan/libs/ops"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/services/router/internal/history"
	"github.com/tickfan/tickfan/services/router/internal/route"
)

// Deps is what Run is given.
type Deps = ops.Deps

const (
	// flushTime bounds a flush at the start, and all flushes of a stop together: a server that hangs must not hold it up.
	flushTime = time.Second
	// serveOn is how long a stopping router serves what others take over.
	serveOn = time.Second
	// acquaint is how long a starting one waits for the others to answer. One that answers later is one that both serve
	// a bucket with for a moment.
	acquaint = 200 * time.Millisecond
)

// What the router waits for, in this order, and at the end.
var (
	errConnecting  = errors.New("connecting to NATS")
	errReading     = errors.New("reading newest ticks from stream TICKS")
	errInterest    = errors.New("waiting for KV store INTEREST (made by the registry)")
	errSubscribing = errors.New("subscribing")
	errStopping    = errors.New("stopping")
)

// Run serves a region's buckets until ctx ends.
//
//	ticks.> beat ------------+                   +--> fanout.<region>.<bucket>   numbered batches
//	interest.<region> -------+--> route.Loop ----+--> _INBOX.…                   newest ticks, answered
//	router.<region>.newest --+     ^      ^      +--> router.<region>.beat       every 500 ms
//	router.<region>.beat ----+     |      |                                     and when a stranger is heard
//	TICKS -- filler: at start, ----+      +---- libs/interest <-- KV INTEREST
//	  |      after a cut, after a drop
//	  +----- history: the ranges that the Loop is asked for --> _INBOX.…         ticks, answered
//
// It starts in an order that leaves no tick between what is read and what is heard: subscribe, flush, read TICKS, load
// interest, serve, answer requests; then it is ready. It serves the buckets that are its own by what it hears of the other
// routers (internal/peers).
func Run(ctx context.Context, cfg Config, deps Deps) error {
	s := &service{cfg: cfg, deps: deps, region: subject.Region(cfg.Region), ready: deps.Ops.Condition("router")}
	defer s.close()
	err := s.open(ctx)
	if err == nil {
		err = s.serve(ctx)
	}
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("run router: %w", err)
	}
	return nil
}

type service struct {
	cfg    Config
	deps   Deps
	region subject.Region
	ready  *ops.Condition

	nc      *nats.Conn
	drops   *bus.Drops
	loop    *route.Loop
	filler  *filler
	history *history.Reader
	metrics *metrics
	subs    []*nats.Subscription
	view    atomic.Pointer[interest.View] // nil until serve has opened it
}

// open connects and subscribes. What it made so far when it fails, close ends.
func (s *service) open(ctx context.Context) (err error) {
	s.ready.Set(errConnecting)
	meter := s.deps.Ops.Meter("tickfan/router")
	instance := "router-" + strings.ToLower(rand.Text()[:6])
	s.deps.Log = s.deps.Log.With("instance", instance)

	s.history = history.New(s.deps.Log, func(subj string, data []byte) error { return s.nc.Publish(subj, data) })
	tracer, err := s.deps.Ops.Tracer(ctx, "router")
	if err != nil {
		return err
	}
	router := route.New(route.Options{
		Region:   s.region,
		Instance: instance,
		Copies:   s.cfg.Copies,
		Window:   s.cfg.Flush,
		Log:      s.deps.Log,
		Publish:  func(subj string, data []byte) error { return s.nc.Publish(subj, data) },
		Stored:   func(b subject.Bucket, part int) (control.PartValue, bool) { return s.view.Load().Part(b, part) },
		Missed:   func() { s.filler.ask(missed) },
		Hears:    func() bool { return s.nc.IsConnected() },
		Range:    s.history.Ask,
		Tracer:   tracer,
	})
	if s.metrics, err = newMetrics(meter, router, s.history.Stats(), s.cfg.Copies); err != nil {
		return err
	}
	if s.drops, err = bus.NewDrops(meter); err != nil {
		return err
	}
	s.filler = newFiller(s.deps.Log, s.metrics, s.deps.Ops.Condition("router.newest"))
	s.loop = route.NewLoop(router, func() { s.filler.ask(dropped) })
	s.nc, err = bus.Connect(ctx, bus.Options{
		URL:         s.cfg.NATS,
		Name:        "router",
		Log:         s.deps.Log,
		Meter:       meter,
		Condition:   s.deps.Ops.Condition("router.nats"),
		Ticks:       true,
		OnReconnect: s.reconnected,
	})
	if err != nil {
		return err
	}
	subs, err := s.loop.Subscribe(s.nc)
	for name, sub := range subs {
		s.watch(name, sub)
	}
	return err
}

// reconnected asks for what was published while the connection was cut.
func (s *service) reconnected() {
	s.filler.reconnected()
	if v := s.view.Load(); v != nil {
		v.Reconnected()
	}
}

func (s *service) watch(name string, sub *nats.Subscription) {
	s.drops.Watch(name, sub)
	s.subs = append(s.subs, sub)
}

// serve runs the loop, and on its own goroutine all that is handed over to it, until ctx ends.
func (s *service) serve(ctx context.Context) error {
	loopCtx, endLoop := context.WithCancel(context.WithoutCancel(ctx))
	var loop sync.WaitGroup
	loop.Go(func() { s.loop.Run(loopCtx) })

	reading, endReading := context.WithCancel(context.WithoutCancel(ctx))
	var reads sync.WaitGroup
	err := s.start(ctx)
	if err == nil {
		s.ready.Set(nil)
		s.deps.SayReady()
		reads.Go(func() { s.history.Run(reading, s.filler.js) })
		reads.Go(func() { s.filler.run(reading, s.loop) })
		<-ctx.Done()
	}

	s.ready.Set(errStopping)
	if err == nil {
		s.leave()
	}
	for _, sub := range s.subs {
		_ = sub.Drain() // fails only where nothing comes any more
	}
	flushing, endFlushing := context.WithTimeout(context.Background(), flushTime)
	defer endFlushing()
	// After it all that is due to the subscriptions has arrived; the loop takes that before it ends.
	s.flush(flushing, "subscriptions")
	if v := s.view.Load(); v != nil {
		v.Close()
	}
	endLoop()
	loop.Wait() // from here on nothing is asked any more
	endReading()
	reads.Wait()
	s.history.RefuseRest()
	s.flush(flushing, "last batches")
	return err
}

// leave serves on until the other routers, if there are any, have taken over.
func (s *service) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), serveOn)
	defer cancel()
	if s.loop.Leave(ctx) {
		<-ctx.Done()
	}
}

// start fills the loop with what is stored and lets it serve.
func (s *service) start(ctx context.Context) error {
	js, err := bus.JetStream(ctx, s.nc)
	if err != nil {
		return err
	}
	// Who reads TICKS before the server knows of the subscriptions misses what is published in between.
	if err := s.subscribed(ctx); err != nil {
		return err
	}
	if err := s.loop.Hello(ctx); err != nil {
		return err
	}
	hello := time.Now()
	s.ready.Set(errReading)
	s.filler.js = js
	if home := s.cfg.Away(); home != "" {
		if s.filler.home, err = jetstream.NewWithDomain(s.nc, home); err != nil {
			return fmt.Errorf("make JetStream client of %s: %w", home, err)
		}
	}
	if err := s.filler.fill(ctx, s.loop); err != nil {
		return err
	}
	s.ready.Set(errInterest)
	view, err := interest.Open(ctx, interest.Options{
		JS:       js,
		Log:      s.deps.Log,
		Meter:    s.deps.Ops.Meter("tickfan/router"),
		OnChange: s.loop.Change,

		Condition: s.deps.Ops.Condition("router.interest"),
	})
	if err != nil {
		return err
	}
	s.view.Store(view)
	if err := pause(ctx, acquaint-time.Since(hello)); err != nil {
		return err
	}
	if err := s.loop.Serve(ctx); err != nil {
		return err
	}
	s.ready.Set(errSubscribing)
	sub, err := s.loop.SubscribeNewest(s.nc)
	if err != nil {
		return err
	}
	s.watch("newest", sub)
	return s.subscribed(ctx)
}

// subscribed returns once the server knows of all subscriptions, or with ctx's cause.
func (s *service) subscribed(ctx context.Context) error {
	for s.nc.FlushTimeout(flushTime) != nil { // cut, which bus logs
		if err := pause(ctx, readAgain); err != nil {
			return err
		}
	}
	return nil
}

// flush waits for no server that is away: what was handed to it is lost.
func (s *service) flush(ctx context.Context, what string) {
	if !s.nc.IsConnected() {
		return
	}
	if err := s.nc.FlushWithContext(ctx); err != nil {
		s.deps.Log.Warn("not flushed before stopping", "what", what, "error", err)
	}
}

// close ends what open made.
func (s *service) close() {
	if s.nc != nil {
		s.nc.Close()
	}
	if s.drops != nil {
		_ = s.drops.Close() // made once, ended once
	}
	if s.metrics != nil {
		s.metrics.close()
	}
}
