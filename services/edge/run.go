package edge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/tickfan/tickfan/libs/bus"
	"github.com/tickfan/tickfan/libs/ops"
	"github.com/tickfan/tickfan/libs/quiet"
	"github.com/tickfan/tickfan/libs/telemetry"
	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
	"github.com/tickfan/tickfan/services/edge/internal/api"
	"github.com/tickfan/tickfan/services/edge/internal/bucket"
	"github.com/tickfan/tickfan/services/edge/internal/certificate"
	"github.com/tickfan/tickfan/services/edge/internal/front"
	"github.com/tickfan/tickfan/services/edge/internal/lease"
	"github.com/tickfan/tickfan/services/edge/internal/newest"
	"github.com/tickfan/tickfan/services/edge/internal/page"
	"github.com/tickfan/tickfan/services/edge/internal/socket"
	"github.com/tickfan/tickfan/services/edge/internal/websocket"
)

// Deps is what Run gets from its caller.
type Deps = ops.Deps

// edge is one run.
type edge struct {
	cfg  Config
	deps Deps
	id   subject.Edge
	nc   *nats.Conn

	stats     bucket.Stats
	forgotten atomic.Int64 // buckets whose interest the registry had lost
	pollers   *socket.Pollers
	cert      *certificate.Pair // nil: without TLS
	front     *front.Front
	now       func() int64
	maxConns  int
	faults    *quiet.Log
	draining  atomic.Bool
	told      chan struct{} // the registry says that the edge is to drain and stop

	mu      sync.Mutex
	buckets []*bucket.Bucket
	workers errgroup.Group
	ctx     context.Context // the workers'; ends under mu, and nobody gets a place afterwards
	sockets sync.WaitGroup  // places taken
	cond    *ops.Condition
	held    bool // the lease, at some time; of the heartbeats' goroutine
	ready   sync.Once
	drops   *bus.Drops
	tracer  *telemetry.Tracer // nil when nobody collects traces
	traces  *telemetry.Cap    // of subscribes
}

// logEvery is the least time between two lines about the same trouble.
const logEvery = 10 * time.Second

// subscribeTraces is how many traces of subscribes are begun in a second, unless OTEL_TRACES_SAMPLER is set.
const subscribeTraces = 5

// Run serves until ctx ends.
//
//	fanout.<region>.<bucket> ──► bucket (internal/bucket): one worker, a table of newest ticks, its connections
//	                                │ mark dirty, one write per dirty connection and flush
//	                                ▼
//	client ◄──────────────── socket (internal/socket): writes that never block; reads
//	client ────► front (internal/front): accepts; requests
//	               ├──► websocket (internal/websocket): handshake, frames ────► bucket: subscribe, unsubscribe
//	               └──► api (internal/api): page, /v1/ticks, /v1/symbols
//	registry ◄── lease (internal/lease): heartbeat          registry ◄── bucket: interest
func Run(ctx context.Context, cfg Config, deps Deps) error {
	e := &edge{cfg: cfg, deps: deps, id: newID(cfg.Name), cond: deps.Ops.Condition("edge"), told: make(chan struct{}), now: monotonic(time.Now())}
	e.deps.Log = deps.Log.With("edge", e.id) // whose line it is, where many edges share a log
	deps.Log = e.deps.Log
	e.faults = quiet.New(deps.Log, logEvery)
	ln, err := ops.Listen("--listen", cfg.Listen)
	if err != nil {
		return err
	}
	if e.maxConns, err = maxConns(cfg.MaxConns, cfg.secure(), deps.Log); err != nil {
		_ = ln.Close()
		return err
	}
	if cfg.secure() {
		if e.cert, err = certificate.Load(cfg.TLSCert, cfg.TLSKey, deps.Log); err != nil {
			_ = ln.Close()
			return err
		}
	}
	if e.pollers, err = socket.NewPollers(cores(), e.now); err != nil {
		_ = ln.Close()
		return fmt.Errorf("make pollers: %w", err)
	}
	defer e.pollers.Close()
	if e.front, err = e.newFront(ln); err != nil {
		_ = ln.Close()
		return err
	}
	defer e.front.Close()
	if e.tracer, err = deps.Ops.Tracer(ctx, "edge"); err != nil {
		return err
	}
	e.traces = e.tracer.Cap(subscribeTraces)
	meter := deps.Ops.Meter("tickfan/edge")
	if e.nc, err = bus.Connect(ctx, bus.Options{URL: cfg.NATS, Name: cfg.Name, Log: deps.Log, Meter: meter,
		Condition: deps.Ops.Condition("edge.nats"), Ticks: true, OnReconnect: e.resync}); err != nil {
		return err
	}
	defer e.nc.Close()
	if e.drops, err = bus.NewDrops(meter); err != nil {
		return fmt.Errorf("make drop counter: %w", err)
	}
	defer e.drops.Close()
	metrics, err := newMetrics(meter, e)
	if err != nil {
		return fmt.Errorf("make metrics: %w", err)
	}
	defer metrics.Close()

	workers, stopWorkers := context.WithCancel(context.WithoutCancel(ctx))
	defer func() { stopWorkers(); _ = e.workers.Wait() }()
	e.ctx = workers
	for range cores() { // as many as cores, so that one hot symbol uses every core
		if _, err := e.addBucket(); err != nil {
			return err
		}
	}
	return e.serve(ctx, ln.Addr().String(), func() {
		e.mu.Lock()
		stopWorkers()
		e.mu.Unlock()
		_ = e.workers.Wait()
	})
}

// serve lets clients in until ctx ends or the registry tells it to stop, then stops in order: clients are sent to other
// edges, those that are left are told to come back, the lease is given up, the last bytes are sent.
func (e *edge) serve(ctx context.Context, addr string, stopWorkers func()) error {
	log := e.deps.Log
	ws := websocket.New(websocket.Options{Reserve: e.reserve, Release: e.release, Pollers: e.pollers, Deflate: e.cfg.Compression == "on",
		Log: log, Refuse: e.refuse})
	cache := newest.New(e.nc, subject.Region(e.cfg.Region))
	ranges := newest.NewRanges(e.nc, subject.Region(e.cfg.Region))
	e.front.Open(api.New(api.Options{Page: page.Handler(), WebSocket: ws, Origins: e.cfg.Origin, Log: log,
		Live: e.live, All: cache.All, Range: ranges.Get, Refused: e.stats.CountRefused}), e.room)
	log.Info("listening", "address", addr, "tls", e.cert != nil, "advertise", e.address(addr), "max_conns", e.maxConns)
	l := lease.New(lease.Options{NATS: e.nc, Region: subject.Region(e.cfg.Region), Log: log,
		State: func() control.Heartbeat { return e.state(addr) }, Lost: e.lost, Drain: sync.OnceFunc(func() { close(e.told) }), Ready: e.leased})
	leased, endLease := context.WithCancel(context.WithoutCancel(ctx))
	var renewing sync.WaitGroup
	renewing.Go(func() { l.Run(leased) })
	running, end := context.WithCancel(ctx)
	defer end()
	g, gctx := errgroup.WithContext(running)
	if e.cert != nil {
		g.Go(func() error { e.cert.Watch(gctx); return nil })
	}
	g.Go(func() error {
		select {
		case <-e.front.Done:
			if gctx.Err() != nil { // it was told to end
				return nil
			}
			return fmt.Errorf("serve clients: %w", e.front.Err)
		case <-gctx.Done():
			return nil
		}
	})
	select {
	case <-e.told:
		log.Info("the registry says that this edge is to drain and stop")
		e.drain(l)
	case <-gctx.Done():
		if ctx.Err() != nil {
			e.drain(l)
		}
	}

	e.cond.Set(errors.New("stopping"))
	end()
	e.front.Close()
	stopWorkers()
	err := g.Wait()
	endLease()
	renewing.Wait()
	l.Release()
	e.sockets.Wait()
	return err
}

// newFront accepts connections from now on.
func (e *edge) newFront(ln net.Listener) (*front.Front, error) {
	o := front.Options{Listener: ln, Log: e.deps.Log, Refused: e.stats.CountRefused}
	if e.cfg.polls() {
		o.Pollers = e.pollers
	}
	if e.cert != nil {
		o.TLS = e.cert.Config()
	}
	return front.New(o)
}

func cores() int { return max(runtime.GOMAXPROCS(0), 1) }

const idChars = "abcdefghijklmnopqrstuvwxyz0123456789"

// newID is the name and six characters that no earlier run had, so that nobody waits for his own old lease.
func newID(name string) subject.Edge {
	b := []byte(name + "-")
	for range 6 {
		b = append(b, idChars[rand.IntN(len(idChars))])
	}
	return subject.Edge(b)
}

// monotonic is a clock in nanoseconds that no step of the wall clock moves. It starts far from 0, which stands for never.
func monotonic(start time.Time) func() int64 {
	return func() int64 { return int64(time.Hour) + int64(time.Since(start)) }
}

// addBucket opens one more.
func (e *edge) addBucket() (*bucket.Bucket, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.addBucketLocked()
}

func (e *edge) addBucketLocked() (*bucket.Bucket, error) {
	b, err := bucket.New(bucket.Options{Tracer: e.tracer, Traces: e.traces, ID: subject.NewBucket(e.id, len(e.buckets)), Region: subject.Region(e.cfg.Region),
		WriteGap: e.cfg.WriteGap, Idle: e.cfg.Idle, NATS: e.nc, Log: e.deps.Log, Stats: &e.stats, Now: e.now})
	if err != nil {
		return nil, fmt.Errorf("open bucket: %w", err)
	}
	e.buckets = append(e.buckets, b)
	fanout, answers := b.Subscriptions()
	e.drops.Watch("fanout", fanout)
	e.drops.Watch("answers", answers)
	e.workers.Go(func() error { return b.Run(e.ctx) })
	return b, nil
}

// room is how many more connections there may be.
func (e *edge) room() int {
	n := e.maxConns - e.front.Conns()
	e.each(func(b *bucket.Bucket) { n -= b.Connections() })
	return n
}

// reserve takes a place in the bucket with most room; nil when the edge drains or stops.
func (e *edge) reserve() *bucket.Bucket {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ctx.Err() != nil || e.draining.Load() {
		return nil
	}
	best := slices.MinFunc(e.buckets, func(a, b *bucket.Bucket) int { return cmp.Compare(a.Connections(), b.Connections()) })
	if best.Connections() >= bucket.Capacity {
		b, err := e.addBucketLocked()
		if err != nil {
			e.faults.Warn("bucket", "client refused", "error", err)
			return nil
		}
		best = b
	}
	if !best.Reserve() {
		return nil
	}
	e.sockets.Add(1)
	return best
}

// release gives back what reserve took.
func (e *edge) release(b *bucket.Bucket) {
	b.Release()
	e.sockets.Done()
}

func (e *edge) each(f func(*bucket.Bucket)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, b := range e.buckets {
		f(b)
	}
}

// resync is called after a reconnection: what was published meanwhile is missing.
func (e *edge) resync() { e.each((*bucket.Bucket).Resync) }

func (e *edge) lost(id subject.Bucket) {
	e.forgotten.Add(1)
	e.faults.Warn("lost", "registry has lost this bucket's interest; sending it again", "bucket", id)
	e.each(func(b *bucket.Bucket) {
		if b.ID() == id {
			b.Resend()
		}
	})
}

// leased is called after each heartbeat. An edge that was ready stays so without registries: all edges lose them at once, prices
// go on, and new clients are served as far as routers hear of them, so no balancer has a better one.
func (e *edge) leased(err error) {
	if err != nil {
		e.stats.RequestErrors.Add(1)
	}
	switch {
	case e.draining.Load():
		e.cond.Set(errDraining)
	case err == nil:
		e.cond.Set(nil)
		e.held = true
		e.ready.Do(e.deps.SayReady)
	case e.held:
		e.cond.Met("without a registry: " + err.Error())
	default:
		e.cond.Set(err)
	}
}

// state is the edge as its heartbeat tells it.
func (e *edge) state(listen string) control.Heartbeat {
	h := control.Heartbeat{Edge: e.id, Address: e.address(listen), Capacity: e.maxConns, Draining: e.draining.Load()}
	e.each(func(b *bucket.Bucket) {
		s := b.Snapshot()
		h.Connections += s.Connections
		h.Buckets = append(h.Buckets, s)
	})
	return h
}

// address is where clients reach this edge.
func (e *edge) address(listen string) string {
	if e.cfg.Advertise != "" {
		return e.cfg.Advertise
	}
	host, port, _ := net.SplitHostPort(listen)
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		if name, err := os.Hostname(); err == nil {
			host = name
		}
	}
	return net.JoinHostPort(host, port)
}

// live gives the newest tick of a symbol from the first bucket that has it.
func (e *edge) live(ctx context.Context, s subject.Symbol) (t tick.Tick, ok bool) {
	e.mu.Lock()
	buckets := slices.Clone(e.buckets)
	e.mu.Unlock()
	for _, b := range buckets {
		if t, ok = b.Query(ctx, s); ok {
			return t, true
		}
	}
	return t, false
}

func (e *edge) refuse(w http.ResponseWriter, status int, c *code.Error) {
	e.stats.CountRefused(c.Code)
	api.Refuse(w, status, c)
}
