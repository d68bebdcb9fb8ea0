package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/nats-io/nats.go"

	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

const (
	bucketsOfEdge = 10
	heartbeat     = 3 * time.Second
	requestTime   = 300 * time.Millisecond

	askInterest = "interest"
	askNewest   = "newest"
)

type bucketName = subject.Bucket

// edge is what of a real one the registry and the routers see: a connection, a lease, and buckets that subscribe, tell what
// they want, and take batches.
type edge struct {
	t       *testing.T
	nc      *nats.Conn
	id      subject.Edge
	region  subject.Region
	m       *market
	inbox   string
	buckets []*bucket
	counts  *counts
	stop    func()
}

// counts is what all edges of a region did and got.
type counts struct {
	by [figures]atomic.Int64

	mu     sync.Mutex
	served *hdrhistogram.Histogram // how long symbols waited to be, microseconds
}

func newCounts() *counts { return &counts{served: hdrhistogram.New(1, time.Hour.Microseconds(), 3)} }

func (c *counts) noteServed(waited time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.served.RecordValue(max(1, waited.Microseconds()))
}

// takeServed gives what was noted since the last call.
func (c *counts) takeServed() *hdrhistogram.Histogram {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.served
	c.served = hdrhistogram.New(1, time.Hour.Microseconds(), 3)
	return h
}

// newEdge makes one without clients that is not connected yet.
func newEdge(t *testing.T, region subject.Region, n, buckets int, m *market, c *counts) *edge {
	e := &edge{t: t, id: subject.Edge(fmt.Sprintf("sim-%06d", n)), region: region, m: m, inbox: nats.NewInbox(), counts: c}
	for i := range buckets {
		b := &bucket{edge: e, at: i, name: subject.NewBucket(e.id, i)}
		b.interest.m, b.interest.served = m, c.noteServed
		b.batch.numbers = map[string]uint64{}
		e.buckets = append(e.buckets, b)
	}
	return e
}

// start connects it and has it work until stop.
func (e *edge) start(url string) error {
	nc, err := nats.Connect(url, nats.Name("sim"))
	if err != nil {
		return fmt.Errorf("connect simulated edge: %w", err)
	}
	e.nc = nc
	for _, b := range e.buckets {
		if _, err := nc.Subscribe(subject.Fanout(e.region, b.name), func(m *nats.Msg) { b.receive(m.Data) }); err != nil {
			return fmt.Errorf("subscribe simulated edge: %w", err)
		}
	}
	if _, err := nc.Subscribe(e.inbox+".>", e.answer); err != nil {
		return fmt.Errorf("subscribe simulated edge: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() { e.beat(ctx) })
	work.Go(func() { e.check(ctx) })
	e.stop = func() { cancel(); work.Wait(); nc.Close() }
	return nil
}

// batchReader is what a bucket reads its batches with.
type batchReader struct {
	batch   tick.Batch
	numbers map[string]uint64 // by router, of the last batch
}

func (b *bucket) receive(p []byte) {
	m, by := &b.batch.batch, &b.edge.counts.by
	if err := m.Decode(p); err != nil {
		b.edge.t.Errorf("batch: %v", err)
		return
	}
	var n [figures]int64
	n[batches] = 1
	now := clock()
	b.mu.Lock()
	defer b.mu.Unlock()
	if last := b.batch.numbers[m.Router]; m.Number > last+1 {
		n[holes] = int64(m.Number - last - 1)
	}
	b.batch.numbers[m.Router] = m.Number
	for _, it := range m.Items {
		h, err := tick.DecodeHead(it)
		s, ok := b.edge.m.index(h.Symbol)
		switch {
		case err != nil || !ok:
			n[itemsUseless]++
		case uint32(h.Seq) <= b.last[s]:
			n[itemsDoubled]++
		default:
			b.last[s] = uint32(h.Seq)
			n[b.interest.wants(s)]++
		}
	}
	b.interest.confirm(&m.Interest, now)
	b.syncLocked(now)
	for _, f := range []figure{batches, holes, itemsWanted, itemsLingering, itemsUseless, itemsDoubled} {
		if n[f] != 0 {
			by[f].Add(n[f])
		}
	}
}

// syncLocked sends the change that is due.
func (b *bucket) syncLocked(now int64) {
	if b.edge.nc == nil {
		return
	}
	c := b.interest.next(b.name, now)
	if c == nil {
		return
	}
	b.edge.counts.by[requests].Add(1)
	if c.sent != c.since {
		b.edge.counts.by[repeats].Add(1)
	}
	b.edge.ask(b, subject.Registry(b.edge.region, subject.EndpointInterest), askInterest, c.number, c.payload)
}

// ask publishes; the answer comes on the inbox.
func (e *edge) ask(b *bucket, subj, what string, number uint64, p []byte) {
	reply := e.inbox + "." + what + "." + strconv.Itoa(b.at) + "." + strconv.FormatUint(number, 10)
	_ = e.nc.PublishRequest(subj, reply, p) // what is not answered is asked again
}

func (e *edge) answer(m *nats.Msg) {
	f := strings.Split(m.Subject[len(e.inbox)+1:], ".")
	at, err := strconv.Atoi(f[1])
	number, err2 := strconv.ParseUint(f[2], 10, 64)
	if err != nil || err2 != nil || len(m.Data) == 0 { // without data: nobody listens
		return
	}
	b, now := e.buckets[at], clock()
	b.mu.Lock()
	defer b.mu.Unlock()
	if f[0] == askNewest {
		b.newestLocked(m.Data, now)
		return
	}
	var a control.InterestAnswer
	if json.Unmarshal(m.Data, &a) != nil || a.Error != nil {
		return
	}
	e.counts.by[answers].Add(1)
	if ask := b.interest.answer(number); len(ask) > 0 {
		e.counts.by[newest].Add(1)
		req := tick.NewestRequest{Symbols: ask}
		e.ask(b, subject.RouterNewest(e.region), askNewest, number, req.Append(nil))
	}
	b.syncLocked(now)
}

func (b *bucket) newestLocked(p []byte, now int64) {
	a, err := tick.DecodeNewestAnswer(p)
	if err != nil {
		b.edge.t.Errorf("newest: %v", err)
		return
	}
	for _, it := range a.Ticks {
		if h, err := tick.DecodeHead(it); err == nil {
			if s, ok := b.edge.m.index(h.Symbol); ok {
				b.interest.live(s, now)
			}
		}
	}
}

// clock is the time of all that is modelled, in nanoseconds.
func clock() int64 { return time.Now().UnixNano() }

// check does what is due four times a second, as a bucket's worker does.
func (e *edge) check(ctx context.Context) {
	ticker := time.NewTicker(checkEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, b := range e.buckets {
			now := clock()
			b.mu.Lock()
			b.interest.sweep(now)
			b.syncLocked(now)
			b.mu.Unlock()
		}
	}
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
		var a control.HeartbeatAnswer
		wait := heartbeat
		if e.request(ctx, subject.EndpointHeartbeat, e.state(), &a) != nil || a.Error != nil {
			wait = requestTime
		}
		for _, id := range a.Lost {
			for _, b := range e.buckets {
				if b.name == id {
					b.mu.Lock()
					b.interest.resend()
					b.syncLocked(clock())
					b.mu.Unlock()
				}
			}
		}
		timer.Reset(wait)
	}
}

// state is what the edge says of itself.
func (e *edge) state() *control.Heartbeat {
	h := &control.Heartbeat{Edge: e.id, Address: "127.0.0.1:1", Capacity: bucketsOfEdge * clients}
	for _, b := range e.buckets {
		b.mu.Lock()
		s := control.BucketSnapshot{Bucket: b.name, Connections: len(b.clients), Symbols: b.interest.symbols, Parts: map[int]uint64{}, Digests: map[int]uint32{}}
		for p, w := range b.interest.written {
			if w.number > 0 {
				s.Parts[p], s.Digests[p] = w.number, w.digest
			}
		}
		b.mu.Unlock()
		h.Connections += s.Connections
		h.Buckets = append(h.Buckets, s)
	}
	return h
}

func (e *edge) request(ctx context.Context, endpoint string, r, a any) error {
	p, err := json.Marshal(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	m, err := e.nc.RequestWithContext(ctx, subject.Registry(e.region, endpoint), p)
	if err != nil {
		return err
	}
	return json.Unmarshal(m.Data, a)
}
