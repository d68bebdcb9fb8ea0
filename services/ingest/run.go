package ingest

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/tickfan/tickfan/libs/bus"
	"github.com/tickfan/tickfan/libs/ops"
	"github.com/tickfan/tickfan/libs/telemetry"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
	"github.com/tickfan/tickfan/services/ingest/internal/intake"
	"github.com/tickfan/tickfan/services/ingest/internal/lease"
	"github.com/tickfan/tickfan/services/ingest/internal/refusal"
	"github.com/tickfan/tickfan/services/ingest/internal/source/coinbase"
	"github.com/tickfan/tickfan/services/ingest/internal/source/generator"
	"github.com/tickfan/tickfan/services/ingest/internal/stamp"
	"github.com/tickfan/tickfan/services/ingest/internal/standby"
	"github.com/tickfan/tickfan/services/ingest/internal/store"
	"github.com/tickfan/tickfan/services/ingest/internal/stored"
)

// Deps is what Run gets from its starter.
type Deps = ops.Deps

const (
	beatEvery = 500 * time.Millisecond

	// ensureEvery is how often TICKS is looked up: a stream that was deleted, or lost with a disk, says nothing.
	ensureEvery = 5 * time.Second

	flushTimeout = time.Second

	// keepHeld is how long it may take until another ingest's death is known here and this one has the lease.
	keepHeld = lease.TTL + 2*lease.Every
)

// Run takes prices until ctx ends; then it takes what was delivered already, flushes, answers, gives the lease back
// and returns nil.
//
//	ingest.<symbol> --> intake ----+
//	Coinbase ---------> coinbase --+--> stamper: limit, epoch, seq, prev --+--> ticks.<symbol>, kept by TICKS
//	dice -------------> generator -+        ^                              +--> beat
//	                                        | may it stamp, and in which epoch
//	         LEADER, TICKS, ticks.>, beat --> lease
//
// What does not come to stand in TICKS is published again (stored). While another ingest stamps, prices from outside are
// held, to be stamped if that one dies before it has (standby).
//
// Ticks leave on a connection of their own, which also carries the lease: junk on ingest.> delays neither.
func Run(ctx context.Context, cfg Config, deps Deps) error {
	s := &service{cfg: cfg, deps: deps, instance: newInstance(), first: make(chan struct{}), may: make(chan struct{}, 1)}
	s.deps.Log = deps.Log.With("instance", s.instance)
	deps.Log = s.deps.Log
	leaseCondition := deps.Ops.Condition("ingest")
	var err error
	if s.tracer, err = deps.Ops.Tracer(ctx, "ingest"); err != nil { // before NATS is waited for
		return err
	}
	s.asked, s.generated, s.exchanged = s.tracer.Cap(askedTraces), s.tracer.Cap(fedTraces), s.tracer.Cap(fedTraces)
	ticks, err := s.connect(ctx, "ingest-ticks", true)
	if err != nil {
		return err
	}
	defer ticks.Close()
	feed, err := s.connect(ctx, "ingest", false)
	if err != nil {
		return err
	}
	defer feed.Close()
	if s.js, err = bus.JetStream(ctx, ticks); err != nil {
		return err
	}

	s.ticks = ticks
	s.stamper = stamp.New(ticks, cfg.MaxSymbols, wall)
	s.held = standby.New(keepHeld, cfg.MaxSymbols, s.active)
	s.stored = stored.New(stored.Options{JetStream: s.js, Stamper: s.stamper, Log: deps.Log, Now: time.Now})
	s.refused = refusal.New(deps.Log)
	s.lease = lease.New(lease.Options{
		JetStream: s.js, Instance: s.instance, Replicas: cfg.Replicas, Holder: s,
		Condition: leaseCondition, Log: deps.Log, Now: wall, Ready: sync.OnceFunc(deps.SayReady),
	})
	if cfg.has(SourceGenerator) {
		s.openGenerator()
	}
	meter := deps.Ops.Meter("tickfan/ingest")
	unregister, err := s.register(meter)
	if err != nil {
		return err
	}
	defer unregister()
	drops, err := bus.NewDrops(meter)
	if err != nil {
		return err
	}
	defer drops.Close()
	if err := s.observe(feed, drops); err != nil {
		return err
	}
	in, err := intake.New(intake.Options{
		Conn: feed, Ticks: ticks, Drops: drops, Refused: s.refused, Log: deps.Log, Now: time.Now,
		Active: s.active, Skipped: func() { s.counts.skipped.Add(1) },
		Hold:  func(sym subject.Symbol, q tick.Quote, stamp func() bool) { s.held.Hold(sym, q, time.Now(), stamp) },
		Stamp: s.fromIngest, StampHeld: s.stampIngest, Stored: s.stored.Wait, Trace: s.traceIngest,
	})
	if err != nil {
		return err
	}
	return s.serve(ctx, in, ticks, feed)
}

// service is one run of ingest.
type service struct {
	cfg      Config
	deps     Deps
	instance string
	js       jetstream.JetStream
	ticks    *nats.Conn // on which they leave

	tracer    *telemetry.Tracer
	asked     *telemetry.Cap // traces of prices on ingest.>
	generated *telemetry.Cap // traces of the generator's
	exchanged *telemetry.Cap // traces of Coinbase's
	stamper   *stamp.Stamper
	held      *standby.Held
	stored    *stored.Follower
	lease     *lease.Lease
	refused   *refusal.Log
	generator *generator.Generator // nil unless it is a source
	counts    counts
	coinbase  coinbase.Stats

	known map[subject.Symbol]tick.Position // from Prepare to Begin
	once  sync.Once
	first chan struct{} // closed when the first epoch has begun
	may   chan struct{} // stamping is allowed, perhaps after it was not
}

// serve runs what takes prices inside of what stamps them, so that stopping is: no more prices, flush and answer what
// came, give the lease back.
func (s *service) serve(ctx context.Context, in *intake.Intake, ticks, feed *nats.Conn) error {
	// Ready means that prices are heard. Without a connection the subscriptions are made with the next one.
	_ = feed.FlushTimeout(flushTimeout)

	holding, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	var inner errgroup.Group
	inner.Go(func() error { return s.lease.Run(holding) })
	inner.Go(func() error { return s.beat(holding) })
	inner.Go(func() error { return s.takeOver(holding) })
	inner.Go(func() error { return s.keepTicks(holding) })
	inner.Go(func() error { return s.stored.Run(holding) })

	defer context.AfterFunc(ctx, s.held.Stop)()
	outer, taking := errgroup.WithContext(ctx)
	outer.Go(func() error { return in.Run(taking) })
	outer.Go(func() error { return s.sources(taking) })
	err := outer.Wait()
	s.flush(ticks, feed) // an answer follows its tick
	release()
	if ierr := inner.Wait(); err == nil {
		err = ierr
	}
	return err
}

// flush flushes the connections in their order, but waits for no server that is away or hangs: what was handed to it is
// lost.
func (s *service) flush(conns ...*nats.Conn) {
	for _, nc := range conns {
		if !nc.IsConnected() {
			continue
		}
		if err := nc.FlushTimeout(flushTimeout); err != nil {
			s.deps.Log.Warn("not flushed before stopping", "connection", nc.Opts.Name, "error", err)
			return
		}
	}
}

func (s *service) connect(ctx context.Context, name string, ticks bool) (*nats.Conn, error) {
	return bus.Connect(ctx, bus.Options{
		URL: s.cfg.NATS, Name: name, Ticks: ticks, Log: s.deps.Log, Meter: s.deps.Ops.Meter("tickfan/ingest"),
		Condition: s.deps.Ops.Condition("ingest.nats"),
	})
}

// observe tells the lease of each epoch on ticks.> and in beat, and what is held of what the leader has stamped. What is
// dropped here does little harm: the next message tells the epoch, too, and a price is stamped twice.
func (s *service) observe(feed *nats.Conn, drops *bus.Drops) error {
	heads := func(m *nats.Msg) {
		h, err := tick.DecodeHead(m.Data)
		if err != nil {
			return
		}
		s.lease.Observe(h.Epoch)
		if s.active() || h.Epoch >= store.MaxEpoch {
			return
		}
		if t, err := tick.Decode(m.Data); err == nil {
			s.held.Tick(&t, time.Now())
		}
	}
	beats := func(m *nats.Msg) {
		if b, err := tick.DecodeBeat(m.Data); err == nil {
			s.lease.Observe(b.Epoch)
		}
	}
	for subj, f := range map[string]nats.MsgHandler{subject.TicksAll: heads, subject.Beat: beats} {
		sub, err := feed.Subscribe(subj, f)
		if err != nil {
			return fmt.Errorf("subscribe %s: %w", subj, err)
		}
		if err := sub.SetPendingLimits(16_384, 8<<20); err != nil {
			return fmt.Errorf("limit %s: %w", subj, err)
		}
		drops.Watch("observe", sub)
	}
	return nil
}

// beat says the sign of life while this instance stamps.
func (s *service) beat(ctx context.Context) error {
	t := time.NewTicker(beatEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			_ = s.stamper.Beat() // a refused one is missed by routers, which is what it is for
		}
	}
}

// wall is the time without Go's monotonic reading, which stands still while a machine sleeps or a virtual one is
// frozen. Who compares such times finds that a pause took place. A clock that is set forward looks like one too, and
// costs an answered refresh.
func wall() time.Time { return time.Now().Round(0) }

// newInstance names this run, so that two of them are told apart in LEADER and in the log.
func newInstance() string { return "ingest-" + strings.ToLower(rand.Text()[:6]) }
