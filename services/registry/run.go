package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/libs/bus"
	"github.com/tickfan/tickfan/libs/ops"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/services/registry/internal/api"
	"github.com/tickfan/tickfan/services/registry/internal/leases"
	"github.com/tickfan/tickfan/services/registry/internal/mirror"
	"github.com/tickfan/tickfan/services/registry/internal/parts"
	"github.com/tickfan/tickfan/services/registry/internal/reaper"
	"github.com/tickfan/tickfan/services/registry/internal/store"
)

// Deps is what Run is given.
type Deps = ops.Deps

// What the registry waits for, in this order, and at the end.
var (
	errConnecting  = errors.New("connecting to NATS")
	errJetStream   = errors.New("waiting for JetStream")
	errMaking      = errors.New("making KV stores EDGES and INTEREST")
	errReading     = errors.New("reading KV stores EDGES and INTEREST")
	errSubscribing = errors.New("subscribing")
	errStopping    = errors.New("stopping")
)

// Run serves a region until ctx ends.
//
//	registry.<region>.interest -----> api --> parts ---> interest.<region>   what changed, at once
//	                                   |        |  +---> KV INTEREST         what stands
//	                  .heartbeat ------+        |             |
//	                                   +--> leases <--> KV EDGES
//	                  .locate .edges --+        |             |
//	                  .buckets .symbol.*        +-- reaper ---+   removes what dead edges left
//	home's TICKS ---> mirror            (in another region than home)
//
// Requests come on a connection of their own, so that a flood of them holds up no write. The stores are made and the
// views complete before the first request is taken.
func Run(ctx context.Context, cfg Config, deps Deps) error {
	cfg.times.lease = cmp.Or(cfg.times.lease, defaultTimes.lease)
	cfg.times.grace = cmp.Or(cfg.times.grace, defaultTimes.grace)
	cfg.times.look = cmp.Or(cfg.times.look, defaultTimes.look)
	s := &service{cfg: cfg, deps: deps, region: subject.Region(cfg.Region), ready: deps.Ops.Condition("registry")}
	defer s.close()
	err := s.open(ctx)
	if err == nil {
		s.serve(ctx)
	}
	s.ready.Set(errStopping)
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("run registry: %w", err)
	}
	return nil
}

type service struct {
	cfg     Config
	deps    Deps
	region  subject.Region
	ready   *ops.Condition
	metrics *metrics
	health  store.Health

	requests *nats.Conn // of the micro service alone
	kv       *nats.Conn
	js       jetstream.JetStream
	stores   []*store.Store
	leases   atomic.Pointer[leases.Leases] // nil until open has read them
	parts    atomic.Pointer[parts.Parts]   // likewise
	api      *api.Service
}

// open does all that comes before the first request. What it made so far when it fails, close ends.
func (s *service) open(ctx context.Context) (err error) {
	s.ready.Set(errConnecting)
	meter := s.deps.Ops.Meter("tickfan/registry")
	if s.metrics, err = newMetrics(meter); err != nil {
		return err
	}
	tracer, err := s.deps.Ops.Tracer(ctx, "registry")
	if err != nil {
		return err
	}
	if s.kv, err = s.connect(ctx, "kv", s.reconnected); err != nil {
		return err
	}
	if s.requests, err = s.connect(ctx, "requests", s.health.Fail); err != nil {
		return err
	}
	s.ready.Set(errJetStream)
	js, err := bus.JetStream(ctx, s.kv)
	if err != nil {
		return err
	}
	s.js = js
	s.ready.Set(errMaking)
	edges, err := s.makeStore(ctx, js, subject.KVEdges, "The edges that live, by id.")
	if err != nil {
		return err
	}
	wanted, err := s.makeStore(ctx, js, subject.KVInterest, "The symbols that each bucket wants, in parts.")
	if err != nil {
		return err
	}
	s.ready.Set(errReading)
	l, err := leases.Open(ctx, leases.Options{JS: js, Store: edges, TTL: s.cfg.times.lease, Log: s.deps.Log, Meter: meter,
		Condition: s.deps.Ops.Condition("registry.edges")})
	if err != nil {
		return err
	}
	s.leases.Store(l)
	if err := s.metrics.watchLeases(meter, l.Len); err != nil {
		return err
	}
	p, err := parts.Open(ctx, parts.Options{
		JS: js, Store: wanted, Region: s.region, Log: s.deps.Log, Meter: meter, Written: s.metrics.written, Tracer: tracer,
		Condition: s.deps.Ops.Condition("registry.interest"),
	})
	if err != nil {
		return err
	}
	s.parts.Store(p)
	s.ready.Set(errSubscribing)
	s.api, err = api.Start(ctx, api.Options{
		Conn: s.requests, Region: s.region, Version: version(debug.ReadBuildInfo()), Leases: l, Parts: p, Log: s.deps.Log, Answered: s.metrics.answered, Tracer: tracer,
	})
	return err
}

func (s *service) connect(ctx context.Context, name string, onReconnect func()) (*nats.Conn, error) {
	return bus.Connect(ctx, bus.Options{
		URL:         s.cfg.NATS,
		Name:        "registry-" + name,
		Log:         s.deps.Log,
		Meter:       s.deps.Ops.Meter("tickfan/registry"),
		Condition:   s.deps.Ops.Condition("registry.nats"),
		OnReconnect: onReconnect,
	})
}

func (s *service) makeStore(ctx context.Context, js jetstream.JetStream, name, description string) (*store.Store, error) {
	s.metrics.serves(name)
	made, err := store.Open(ctx, store.Options{
		JS: js, Name: name, Description: description, Replicas: s.cfg.Replicas,
		Log: s.deps.Log, Health: &s.health, Observe: s.metrics.kv,
	})
	if err == nil {
		s.stores = append(s.stores, made)
	}
	return made, err
}

// reconnected: heartbeats may have been missed, and changes of the stores.
func (s *service) reconnected() {
	s.health.Fail()
	if l := s.leases.Load(); l != nil {
		l.Reconnected()
	}
	if p := s.parts.Load(); p != nil {
		p.Reconnected()
	}
}

// serve runs what is not done on request until ctx ends, and then answers the last requests.
func (s *service) serve(ctx context.Context) {
	var all sync.WaitGroup
	for _, made := range s.stores {
		all.Go(func() { made.Keep(ctx) })
	}
	if home := s.cfg.Away(); home != "" {
		all.Go(func() { s.mirror(ctx, home) })
	}
	all.Go(func() {
		reaper.New(reaper.Options{
			Leases: s.leases.Load(), Parts: s.parts.Load(), Health: &s.health, Hears: s.requests.IsConnected,
			Grace: s.cfg.times.grace, Every: s.cfg.times.look, Log: s.deps.Log,
			Expired: s.metrics.expired, Removed: s.metrics.removed,
		}).Run(ctx)
	})
	s.ready.Set(nil)
	s.deps.SayReady()
	all.Wait()
}

// mirror keeps a copy of the home region's TICKS. Nothing waits for it: a region that is cut off has to serve, too.
func (s *service) mirror(ctx context.Context, home string) {
	away, err := jetstream.NewWithDomain(s.kv, home)
	if err != nil { // the name is checked
		s.deps.Log.Error("no mirror of TICKS; this region has no history of its own while home is away", "home", home, "error", err)
		return
	}
	mirror.Keep(ctx, mirror.Options{JS: s.js, Away: away, Home: home, Replicas: s.cfg.Replicas, Log: s.deps.Log})
}

// close ends what open made, in reverse: no more requests, the last answers, the views, the connections.
func (s *service) close() {
	if s.api != nil {
		s.api.Stop()
	}
	if p := s.parts.Load(); p != nil {
		p.Close()
	}
	if l := s.leases.Load(); l != nil {
		l.Close()
	}
	for _, nc := range []*nats.Conn{s.requests, s.kv} {
		if nc != nil {
			nc.Close()
		}
	}
	if s.metrics != nil {
		s.metrics.close()
	}
}
