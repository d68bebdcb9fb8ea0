package parts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"github.com/tickfan/tickfan/libs/bus"
	"github.com/tickfan/tickfan/libs/interest"
	"github.com/tickfan/tickfan/libs/ops"
	"github.com/tickfan/tickfan/libs/telemetry"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/services/registry/internal/store"
)

const (
	// attempts is how often a write is decided again after a conflict: as many registries may have got the same
	// request at the same time.
	attempts = 10

	// atOnce is how many keys are worked on at the same time, for one request or removal.
	atOnce = subject.Parts
)

// Options say where the interest is.
type Options struct {
	JS      jetstream.JetStream
	Store   *store.Store
	Region  subject.Region
	Log     *slog.Logger
	Meter   metric.Meter
	Written func()            // called for each part written
	Tracer  *telemetry.Tracer // nil when nobody collects traces

	Condition *ops.Condition // met while the interest is known to be that of the store
}

// Parts is the interest of the region. Its methods may be called from any goroutine.
type Parts struct {
	nc      *nats.Conn // the one that KV is written on: an announcement leaves before the write
	store   *store.Store
	subject string
	written func()
	tracer  *telemetry.Tracer
	view    *interest.View

	mu    sync.RWMutex
	edges map[subject.Edge]map[interest.Key]struct{}
}

// Open reads all interest. It lives as long as ctx; the caller closes it.
func Open(ctx context.Context, o Options) (*Parts, error) {
	p := &Parts{
		nc:      o.JS.Conn(),
		store:   o.Store,
		subject: subject.Interest(o.Region),
		written: o.Written,
		tracer:  o.Tracer,
		edges:   map[subject.Edge]map[interest.Key]struct{}{},
	}
	view, err := interest.Open(ctx, interest.Options{JS: o.JS, Log: o.Log, Meter: o.Meter, OnChange: p.changed, Condition: o.Condition})
	if err != nil {
		return nil, err
	}
	p.view = view
	return p, nil
}

func (p *Parts) changed(c interest.Change) {
	p.mu.Lock()
	defer p.mu.Unlock()
	edge, key := c.Bucket.Edge(), interest.Key{Bucket: c.Bucket, Part: c.Part}
	if c.Gone {
		delete(p.edges[edge], key)
		if len(p.edges[edge]) == 0 {
			delete(p.edges, edge)
		}
		return
	}
	if p.edges[edge] == nil {
		p.edges[edge] = map[interest.Key]struct{}{}
	}
	p.edges[edge][key] = struct{}{}
}

// Reconnected asks for a confirmation of the view.
func (p *Parts) Reconnected() { p.view.Reconnected() }

// Close ends the view.
func (p *Parts) Close() { p.view.Close() }

// Change announces and writes each part of a checked request and returns when all stand in the store.
func (p *Parts) Change(ctx context.Context, r *control.InterestRequest) error {
	g, ctx := errgroup.WithContext(ctx)
	for part, set := range r.Parts {
		g.Go(func() error { return p.write(ctx, r.Bucket, part, control.PartValue{Number: r.Number, Symbols: set}) })
	}
	return g.Wait()
}

// write announces and writes one part unless there is a newer one. A part of equal number is announced again: who
// repeats a request may do so because no router heard of it. But what the view shows is not
// written again. Where the view is wrong, for a moment after the store was lost, the edge's next heartbeat finds it out.
func (p *Parts) write(ctx context.Context, b subject.Bucket, part int, v control.PartValue) error {
	if v.Symbols == nil {
		v.Symbols = control.Set{} // {} in JSON, not null
	}
	known, ok := p.view.Part(b, part)
	if ok && known.Number > v.Number {
		return nil
	}
	a := control.Announcement{Bucket: b, Part: part, PartValue: v}
	if err := p.announce(ctx, a); err != nil {
		return fmt.Errorf("announce part %d of bucket %s: %w", part, b, err)
	}
	if ok && known.Number == v.Number {
		return nil
	}
	value, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode part %d of bucket %s: %w", part, b, err)
	}
	return p.put(ctx, b, part, v, value)
}

// announce publishes a part, with ctx's trace if it has one.
func (p *Parts) announce(ctx context.Context, a control.Announcement) error {
	if !telemetry.Sampled(ctx) {
		return p.nc.Publish(p.subject, a.Append(nil))
	}
	ctx, span := p.tracer.Send(ctx, "interest.{region}", p.subject)
	defer span.End()
	return p.nc.PublishMsg(&nats.Msg{Subject: p.subject, Header: bus.TraceHeader(ctx), Data: a.Append(nil)})
}

// put writes a part by compare-and-set unless the store has a newer one.
func (p *Parts) put(ctx context.Context, b subject.Bucket, part int, v control.PartValue, value []byte) (err error) {
	key := subject.InterestKey(b, part)
	if telemetry.Sampled(ctx) {
		var span trace.Span
		ctx, span = p.tracer.Start(ctx, "put "+subject.KVInterest, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attribute.String("tickfan.key", key)))
		defer func() {
			if err != nil {
				telemetry.Fail(span, err)
			}
			span.End()
		}()
	}
	for range attempts {
		now, err := p.store.Get(ctx, key)
		if err != nil {
			return err
		}
		if now.Exists {
			// What cannot be read is no interest of anybody's, and is written over.
			if stored, err := control.DecodePart(part, now.Value); err == nil && stored.Number >= v.Number {
				return nil
			}
		}
		err = p.store.Write(ctx, key, value, now.Revision, 0)
		if err == nil {
			p.written()
			return nil
		}
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("write part %d of bucket %s: %w, %d times", part, b, store.ErrConflict, attempts)
}

// Lost are those buckets of which the store lacks a part that their edge was told to stand there, or has an older or another
// one.
func (p *Parts) Lost(ctx context.Context, buckets []control.BucketSnapshot) ([]subject.Bucket, error) {
	var lost []subject.Bucket
	for _, b := range buckets {
		for part, number := range b.Parts {
			digest, told := b.Digests[part]
			is, err := p.isLost(ctx, b.Bucket, part, number, func(v control.PartValue) bool {
				return v.Number > number || v.Number == number && (!told || v.Symbols.Digest() == digest)
			})
			if err != nil {
				return lost, fmt.Errorf("look for interest of bucket %s: %w", b.Bucket, err)
			}
			if is {
				lost = append(lost, b.Bucket)
				break
			}
		}
	}
	return lost, nil
}

func (p *Parts) isLost(ctx context.Context, b subject.Bucket, part int, number uint64, good func(control.PartValue) bool) (bool, error) {
	if number == 0 {
		return false, nil
	}
	if v, ok := p.view.Part(b, part); ok && good(v) {
		return false, nil
	}
	// The view may lag behind what another registry wrote a moment ago.
	now, err := p.store.Get(ctx, subject.InterestKey(b, part))
	if err != nil {
		return false, err
	}
	if !now.Exists {
		return true, nil
	}
	v, err := control.DecodePart(part, now.Value)
	return err != nil || !good(v), nil
}

// Edges are those that have interest.
func (p *Parts) Edges() []subject.Edge {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return slices.Collect(maps.Keys(p.edges))
}

// Remove removes an edge's interest: what the view knows of, and the given parts. It returns how many parts it removed.
// A part that is written at the same time stays.
func (p *Parts) Remove(ctx context.Context, e subject.Edge, also []control.BucketSnapshot) (int, error) {
	p.mu.RLock()
	keys := maps.Clone(p.edges[e])
	p.mu.RUnlock()
	if keys == nil {
		keys = map[interest.Key]struct{}{}
	}
	for _, b := range also {
		for part := range b.Parts {
			keys[interest.Key{Bucket: b.Bucket, Part: part}] = struct{}{}
		}
	}
	var removed atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for key := range keys {
		g.Go(func() error {
			is, err := p.remove(ctx, subject.InterestKey(key.Bucket, key.Part))
			if is {
				removed.Add(1)
			}
			return err
		})
	}
	err := g.Wait()
	return int(removed.Load()), err
}

func (p *Parts) remove(ctx context.Context, key string) (bool, error) {
	now, err := p.store.Get(ctx, key)
	if err != nil || !now.Exists {
		return false, err
	}
	err = p.store.Purge(ctx, key, now.Revision)
	if errors.Is(err, store.ErrConflict) {
		return false, nil // written again, or removed by another registry
	}
	return err == nil, err
}

// Buckets are the region's buckets, sorted. Whether a bucket is leased, its edge's lease says.
func (p *Parts) Buckets(live func(subject.Edge) bool) []control.BucketInfo {
	infos := map[subject.Bucket]control.BucketInfo{}
	for key, v := range p.view.All() {
		i := infos[key.Bucket]
		i.Number = max(i.Number, v.Number)
		i.Symbols += len(v.Symbols)
		for _, flag := range v.Symbols {
			if flag == control.Every {
				i.Every++
			}
		}
		infos[key.Bucket] = i
	}
	all := make([]control.BucketInfo, 0, len(infos))
	for _, b := range slices.Sorted(maps.Keys(infos)) {
		i := infos[b]
		i.Bucket, i.Leased = b, live(b.Edge())
		all = append(all, i)
	}
	return all
}

// Wanting are the buckets that want a symbol, and how.
func (p *Parts) Wanting(s subject.Symbol) map[subject.Bucket]control.Flag {
	wanting, part := map[subject.Bucket]control.Flag{}, subject.Part(s)
	for key, v := range p.view.All() {
		if flag, wants := v.Symbols[s]; wants && key.Part == part {
			wanting[key.Bucket] = flag
		}
	}
	return wanting
}
