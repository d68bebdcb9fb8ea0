package tickctl

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"

	"github.com/tickfan/tickfan/libs/natsd"
	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

const (
	edgeA   = subject.Edge("edge-a-ab12cd")
	edgeB   = subject.Edge("edge-b-ef34gh")
	bucketA = subject.Bucket("edge-a-ab12cd-0")
	bucketB = subject.Bucket("edge-b-ef34gh-0")
	epoch   = 1763769600
)

// region is what a region's services tell over a real NATS, without the services.
type region struct {
	*natstest.Server
	nc *nats.Conn

	mu      sync.Mutex
	edges   []control.Lease
	buckets []control.BucketInfo
	routers []control.RouterBeat
	wanted  map[subject.Bucket]control.Flag
	newest  []tick.Tick
	beat    tick.BeatMsg // its Time is set when it is said; no Epoch: none
	ahead   time.Duration
	age     int64 // of the beat, in batches
	told    []string
	falling int            // connections that a draining edge loses each time that edges are listed
	mute    subject.Bucket // no router writes to it
	rival   uint64         // epoch of another ingest that beats; 0: none
	asked   int            // requests to the registry
	deaf    [2]int         // from which one on, and up to which one excluded, none is answered
}

// newRegion is a healthy one of two edges.
func newRegion(t *testing.T, name subject.Region) *region {
	t.Helper()
	r := &region{Server: natstest.StartWith(t, natsd.Options{JetStream: true, Domain: string(name), Name: "nats-" + string(name)})}
	r.nc = r.Connect(t)
	r.edges = []control.Lease{
		{Edge: edgeA, Address: "10.0.0.7:8080", Capacity: 1000, Connections: 250, Buckets: []control.BucketSnapshot{{Bucket: bucketA, Connections: 250, Symbols: 40}}},
		{Edge: edgeB, Address: "10.0.0.8:8080", Capacity: 1000, Connections: 50, Buckets: []control.BucketSnapshot{{Bucket: bucketB, Connections: 50, Symbols: 2}}},
	}
	r.buckets = []control.BucketInfo{{Bucket: bucketA, Number: 12, Symbols: 40, Every: 1, Leased: true}, {Bucket: bucketB, Number: 3, Symbols: 2, Leased: true}}
	r.routers = []control.RouterBeat{{Instance: "router-x7k2p9", Ready: true}}
	r.wanted = map[subject.Bucket]control.Flag{bucketA: control.Every, bucketB: control.Latest}
	r.newest = []tick.Tick{{Symbol: "BTC-USD", Position: tick.Position{Epoch: epoch, Seq: 1042}, At: time.Now().Add(-3 * time.Second).UnixMicro(),
		Quote: tick.Quote{Price: tick.MustDecimal("64123.51"), Bid: tick.MustDecimal("64123.50"), TS: epoch * 1e6}}}
	r.beat, r.age = tick.BeatMsg{Epoch: epoch, Count: 7}, 120
	r.stores(t)
	r.serve(t, name)
	r.speak(t, name)
	return r
}

// change is safe beside what answers.
func (r *region) change(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

// stores are those of home.
func (r *region) stores(t *testing.T) {
	t.Helper()
	js, err := jetstream.New(r.nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: subject.StreamTicks, Subjects: []string{subject.TicksAll}}); err != nil {
		t.Fatal(err)
	}
	leader, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: subject.KVLeader, LimitMarkerTTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]any{
		subject.KeyLease: control.LeaderLease{Instance: "ingest-x7k2p9", Epoch: epoch}, subject.KeyEpoch: control.LeaderEpoch{Epoch: epoch},
	} {
		p, err := json.Marshal(value)
		if err == nil {
			_, err = leader.Put(t.Context(), key, p)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// serve is the registry and the routers.
func (r *region) serve(t *testing.T, name subject.Region) {
	t.Helper()
	service, err := micro.AddService(r.nc, micro.Config{Name: subject.Service, Version: "1.2.3", Metadata: map[string]string{"region": string(name)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = service.Stop() })
	for endpoint, answer := range map[string]func(last string) any{
		subject.EndpointEdges:         func(string) any { return r.leases() },
		subject.EndpointBuckets:       func(string) any { return control.BucketsAnswer{Buckets: r.buckets} },
		subject.EndpointSymbol + ".*": func(s string) any { return control.SymbolAnswer{Symbol: subject.Symbol(s), Buckets: r.wanted} },
		subject.EndpointDrain + ".*":  r.drain,
	} {
		err := service.AddEndpoint(strings.Split(endpoint, ".")[0], micro.HandlerFunc(func(q micro.Request) {
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.asked++; r.asked > r.deaf[0] && r.asked <= r.deaf[1] {
				return
			}
			_ = q.RespondJSON(answer(q.Subject()[strings.LastIndexByte(q.Subject(), '.')+1:]))
		}), micro.WithEndpointSubject(subject.Registry(name, endpoint)))
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err = r.nc.QueueSubscribe(subject.RouterNewest(name), subject.QueueRouters, func(m *nats.Msg) {
		q, err := tick.DecodeNewestRequest(m.Data)
		if err != nil || len(q.Symbols) != 1 {
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		a := tick.NewestAnswer{Last: true}
		for _, n := range r.newest {
			if n.Symbol == q.Symbols[0] {
				a.Ticks = append(a.Ticks, n.Append(nil))
			}
		}
		if len(a.Ticks) == 0 {
			a.Missing = q.Symbols
		}
		_ = m.Respond(a.Append(nil))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

func (r *region) leases() control.EdgesAnswer {
	answer := control.EdgesAnswer{Edges: []control.Lease{}, Time: time.Now().UnixMicro()}
	left := r.edges[:0:0]
	for _, l := range r.edges {
		if l.Draining && (l.Connections == 0 || answer.Time-l.Renewed > 15e6 && l.Renewed > 0) {
			continue
		}
		if l.Drain {
			l.Draining, l.Connections = true, max(l.Connections-r.falling, 0)
		}
		left = append(left, l)
		if l.Renewed == 0 {
			l.Renewed = time.Now().UnixMicro()
		}
		answer.Edges = append(answer.Edges, l)
	}
	r.edges = left
	return answer
}

func (r *region) drain(edge string) any {
	for i := range r.edges {
		if string(r.edges[i].Edge) == edge {
			r.edges[i].Drain = true
			r.told = append(r.told, edge)
			return control.DrainAnswer{Edge: r.edges[i].Edge}
		}
	}
	return control.DrainAnswer{Error: code.Errorf(code.NoEdge, "edge %s has no lease here", edge)}
}

// speak is ingest and the routers, faster than they are.
func (r *region) speak(t *testing.T, name subject.Region) {
	var speaking sync.WaitGroup
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop); speaking.Wait() })
	again := time.NewTicker(20 * time.Millisecond)
	speaking.Go(func() {
		defer again.Stop()
		for seq := uint64(2000); ; seq++ {
			select {
			case <-stop:
				return
			case <-again.C:
			}
			r.mu.Lock()
			messages := map[string][]byte{}
			if r.beat.Epoch > 0 {
				r.beat.Time = time.Now().Add(r.ahead).UnixMicro()
				messages[subject.Beat] = r.beat.Append(nil)
			}
			for _, b := range r.routers {
				_ = r.nc.Publish(subject.RouterBeat(name), b.Append(nil))
			}
			for _, b := range []subject.Bucket{bucketA, bucketB} {
				if len(r.routers) > 0 && b != r.mute {
					messages[subject.Fanout(name, b)] = (&tick.Batch{Router: r.routers[0].Instance + ".1", Number: seq, BeatAge: r.age}).Append(nil)
				}
			}
			if r.rival > 0 {
				rival := tick.BeatMsg{Epoch: r.rival, Count: 7, Time: r.beat.Time}
				_ = r.nc.Publish(subject.Beat, rival.Append(nil))
			}
			moving := tick.Tick{Symbol: "ETH-USD", Position: tick.Position{Epoch: epoch, Seq: seq / 2}, Again: seq%2 == 1, Quote: tick.Quote{Price: tick.MustDecimal("1")}}
			messages[subject.Ticks("ETH-USD")] = moving.Append(nil)
			r.mu.Unlock()
			for at, p := range messages {
				_ = r.nc.Publish(at, p)
			}
		}
	})
}
