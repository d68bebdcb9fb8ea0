package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

const (
	bucketsOfEdge = 10
	heartbeat     = 3 * time.Second
	requestTime   = 300 * time.Millisecond
	atOnce        = 16 // changes of an edge under way
)

// edge is what of a real one the registry and the routers see.
type edge struct {
	t       *testing.T
	nc      *nats.Conn
	id      subject.Edge
	buckets []*bucket
	counts  *counts
	end     func()
}

type bucket struct {
	id    subject.Bucket
	parts map[int]control.Set

	mu     sync.Mutex
	number uint64
	wants  map[subject.Symbol]bool
}

// counts is what all edges got.
type counts struct {
	batches, items, useless, bytes atomic.Int64
	changes                        atomic.Int64 // that the registry has answered
}

func startEdge(t *testing.T, url string, n, buckets int, m *market, c *counts) *edge {
	t.Helper()
	nc, err := nats.Connect(url, nats.Name("sim"))
	if err != nil {
		t.Fatal(err)
	}
	dice := rand.New(rand.NewPCG(uint64(n), 1))
	e := &edge{t: t, nc: nc, id: subject.Edge(fmt.Sprintf("sim-%06d", n)), counts: c}
	for i := range buckets {
		b := &bucket{id: subject.NewBucket(e.id, i), parts: m.wanted(dice), wants: map[subject.Symbol]bool{}}
		for _, set := range b.parts {
			for s := range set {
				b.wants[s] = true
			}
		}
		if _, err := nc.Subscribe(subject.Fanout("local", b.id), func(msg *nats.Msg) { e.batch(b, msg.Data) }); err != nil {
			t.Fatal(err)
		}
		e.buckets = append(e.buckets, b)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.beat(ctx)
	}()
	e.end = sync.OnceFunc(func() { cancel(); <-done; nc.Close() })
	t.Cleanup(e.end)
	return e
}

func (e *edge) batch(b *bucket, p []byte) {
	var m tick.Batch
	if err := m.Decode(p); err != nil {
		e.t.Errorf("batch: %v", err)
		return
	}
	e.counts.batches.Add(1)
	e.counts.items.Add(int64(len(m.Items)))
	e.counts.bytes.Add(int64(len(p)))
	for _, it := range m.Items {
		if h, err := tick.DecodeHead(it); err != nil || !b.wants[subject.Symbol(h.Symbol)] {
			e.counts.useless.Add(1)
		}
	}
}

// change tells the registry all that a bucket wants, and again until it has answered.
func (e *edge) change(ctx context.Context, b *bucket) error {
	b.mu.Lock()
	b.number++
	r := control.InterestRequest{Bucket: b.id, Number: b.number, Parts: b.parts}
	b.mu.Unlock()
	for {
		var a control.InterestAnswer
		if e.request(ctx, subject.EndpointInterest, &r, &a) == nil && a.Error == nil {
			e.counts.changes.Add(1)
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

func (e *edge) request(ctx context.Context, endpoint string, r, a any) error {
	p, err := json.Marshal(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	m, err := e.nc.RequestWithContext(ctx, subject.Registry("local", endpoint), p)
	if err != nil {
		return err
	}
	return json.Unmarshal(m.Data, a)
}

// announce tells the registry of all buckets.
func (e *edge) announce(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for _, b := range e.buckets {
		g.Go(func() error { return e.change(ctx, b) })
	}
	return g.Wait()
}

// beat holds the lease, and tells again what the registry has lost.
func (e *edge) beat(ctx context.Context) {
	timer := time.NewTimer(rand.N(heartbeat))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		h := control.Heartbeat{Edge: e.id, Address: "127.0.0.1:1", Capacity: bucketsOfEdge * clients}
		byID := map[subject.Bucket]*bucket{}
		for _, b := range e.buckets {
			byID[b.id] = b
			b.mu.Lock()
			s := control.BucketSnapshot{Bucket: b.id, Connections: clients, Symbols: len(b.wants), Parts: map[int]uint64{}}
			for p := range b.parts {
				if b.number > 0 {
					s.Parts[p] = b.number
				}
			}
			b.mu.Unlock()
			h.Buckets = append(h.Buckets, s)
		}
		var a control.HeartbeatAnswer
		wait := heartbeat
		if e.request(ctx, subject.EndpointHeartbeat, &h, &a) != nil || a.Error != nil {
			wait = requestTime
		}
		for _, id := range a.Lost {
			_ = e.change(ctx, byID[id]) // ends with ctx alone
		}
		timer.Reset(wait)
	}
}
