package registry

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
)

func TestStoresAreMade(t *testing.T) {
	b := newBench(t)
	b.start(slow)
	b.start(slow) // finds them
	for _, name := range []string{subject.KVEdges, subject.KVInterest} {
		s, err := b.js.Stream(t.Context(), "KV_"+name)
		if err != nil {
			t.Fatal(err)
		}
		c := s.CachedInfo().Config
		if c.MaxMsgsPerSubject != 1 || c.SubjectDeleteMarkerTTL != 5*time.Minute || c.Storage != jetstream.FileStorage || c.Replicas != 1 {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

func TestHeartbeatMakesAndRenewsLease(t *testing.T) {
	b := newBench(t)
	i := b.start(quick)
	if a := b.heartbeat(beat(alice, 10)); a.TTL != quick.lease.Milliseconds() || len(a.Lost) > 0 {
		t.Errorf("answered %+v", a)
	}
	kv, err := b.js.KeyValue(t.Context(), subject.KVEdges)
	if err != nil {
		t.Fatal(err)
	}
	first, err := kv.Get(t.Context(), string(alice))
	if err != nil {
		t.Fatal(err)
	}
	var lease control.Lease
	if err := json.Unmarshal(first.Value(), &lease); err != nil || lease.Address != "alice-aaaaaa:8080" || lease.Connections != 10 || lease.Renewed == 0 {
		t.Errorf("lease %s, %v", first.Value(), err)
	}
	natstest.Eventually(t, soon, func() bool { return i.scrape("tickfan_registry_leases{ 1") }, "the lease is in the metrics")

	stop := b.keepAlive(beat(alice, 20), quick.lease/4)
	natstest.Eventually(t, soon, func() bool {
		e, err := kv.Get(t.Context(), string(alice))
		if err != nil {
			t.Fatalf("the lease is gone while it is renewed: %v", err)
		}
		return e.Created().Sub(first.Created()) > 2*quick.lease
	}, "the lease is renewed for twice its time")
	stop()
	natstest.Eventually(t, soon, func() bool {
		_, err := kv.Get(t.Context(), string(alice))
		return err != nil
	}, "the lease runs out")

	b.heartbeat(beat(alice, 30))
	if _, err := kv.Get(t.Context(), string(alice)); err != nil {
		t.Errorf("a heartbeat without a lease does not make one: %v", err)
	}
}

// Each registry's view lags behind what the other wrote a moment ago.
func TestHeartbeatsAtTwoRegistries(t *testing.T) {
	b := newBench(t)
	b.start(slow)
	b.start(slow)
	for n := range 100 {
		b.heartbeat(beat(alice, n))
	}
	natstest.Eventually(t, soon, func() bool {
		edges := ask[control.EdgesAnswer](b, subject.EndpointEdges, nil).Edges
		return len(edges) == 1 && edges[0].Connections == 99
	}, "the last heartbeat stands")
}

func TestLocate(t *testing.T) {
	b := newBench(t)
	b.start(slow)
	half, full, draining := beat(alice, 50), beat("carol-cccccc", 100), beat("dave-dddddd", 0)
	draining.Draining = true
	most := beat(bob, 60) // but of 1,000
	most.Capacity = 1000
	b.heartbeat(full)
	b.heartbeat(draining)
	answer := ask[control.LocateAnswer](b, subject.EndpointLocate, nil)
	if !isCode(answer.Error, code.NoEdge) {
		t.Errorf("with all full or draining: %+v", answer)
	}
	b.heartbeat(half)
	natstest.Eventually(t, soon, func() bool { return b.located(alice) }, "the one that is half full")
	b.heartbeat(most)
	natstest.Eventually(t, soon, func() bool { return b.located(bob) }, "the one with the lower share")
	if a := ask[control.LocateAnswer](b, subject.EndpointLocate, nil); a.Address != "bob-bbbbbb:8080" {
		t.Errorf("located %+v", a)
	}
	natstest.Eventually(t, soon, func() bool {
		edges := ask[control.EdgesAnswer](b, subject.EndpointEdges, nil).Edges
		return slices.EqualFunc(edges, []subject.Edge{alice, bob, "carol-cccccc", "dave-dddddd"},
			func(l control.Lease, e subject.Edge) bool { return l.Edge == e })
	}, "edges lists all, sorted")
}

// An edge is told to drain by whichever registry gets its next heartbeats, and is sent no more clients from then on.
func TestDrain(t *testing.T) {
	b := newBench(t)
	b.start(slow)
	b.start(slow)
	b.heartbeat(beat(alice, 10))
	b.heartbeat(beat(bob, 90))
	natstest.Eventually(t, soon, func() bool { return b.heartbeat(beat(bob, 90)).Others == 1 }, "one other takes clients")
	if a := ask[control.DrainAnswer](b, subject.EndpointDrain+"."+string(alice), nil); a.Error != nil || a.Edge != alice {
		t.Fatalf("answered %+v", a)
	}
	for range 20 {
		if !b.heartbeat(beat(alice, 10)).Drain {
			t.Fatal("a heartbeat does not hear of it")
		}
	}
	natstest.Eventually(t, soon, func() bool { return b.located(bob) && b.heartbeat(beat(bob, 90)).Others == 0 }, "it is sent no more clients")
	if b.heartbeat(beat(bob, 90)).Drain {
		t.Error("another edge hears of it, too")
	}
	last := beat(alice, 0)
	last.Stopping = true
	b.heartbeat(last)
	if a := ask[control.DrainAnswer](b, subject.EndpointDrain+"."+string(alice), nil); !isCode(a.Error, code.NoEdge) {
		t.Errorf("an edge that has gone: %+v", a)
	}
}

// A part that stands at its number, but holds something else than its edge said, is asked for again.
func TestDigests(t *testing.T) {
	b := newBench(t)
	b.start(slow)
	r := want(subject.NewBucket(alice, 0), 3, control.Set{"BTC-USD": control.Latest})
	b.change(r)
	h := beat(alice, 1, r)
	part := subject.Part("BTC-USD")
	for _, other := range []control.Set{{}, {"BTC-USD": control.Every}, {"BTC-USD": control.Latest, "BTC-EUR": control.Latest}} {
		h.Buckets[0].Digests = map[int]uint32{part: other.Digest()}
		if lost := b.heartbeat(h).Lost; !slices.Equal(lost, []subject.Bucket{r.Bucket}) {
			t.Errorf("%v: lost %v", other, lost)
		}
	}
	h.Buckets[0].Digests[part] = r.Parts[part].Digest()
	if lost := b.heartbeat(h).Lost; len(lost) > 0 {
		t.Errorf("lost %v", lost)
	}
	h.Buckets[0].Digests, h.Buckets[0].Parts[part] = map[int]uint32{part: 1}, 2
	if lost := b.heartbeat(h).Lost; len(lost) > 0 {
		t.Errorf("compared with a newer one: lost %v", lost)
	}
}

func TestBucketsAndSymbol(t *testing.T) {
	b := newBench(t)
	b.start(slow)
	one := want(subject.NewBucket(alice, 0), 3, control.Set{"BTC-USD": control.Latest, "ETH-USD": control.Every})
	two := want(subject.NewBucket(bob, 1), 9, control.Set{"BTC-USD": control.Every})
	b.change(one)
	b.change(two)
	b.heartbeat(beat(alice, 1, one))
	natstest.Eventually(t, soon, func() bool {
		return slices.Equal(ask[control.BucketsAnswer](b, subject.EndpointBuckets, nil).Buckets, []control.BucketInfo{
			{Bucket: one.Bucket, Number: 3, Symbols: 2, Every: 1, Leased: true},
			{Bucket: two.Bucket, Number: 9, Symbols: 1, Every: 1},
		})
	}, "buckets tells both")
	answer := ask[control.SymbolAnswer](b, subject.EndpointSymbol+".BTC-USD", nil)
	if answer.Symbol != "BTC-USD" || !maps.Equal(answer.Buckets, map[subject.Bucket]control.Flag{one.Bucket: control.Latest, two.Bucket: control.Every}) {
		t.Errorf("symbol: %+v", answer)
	}
}

func TestLost(t *testing.T) {
	b := newBench(t)
	b.start(slow)
	kept := want(subject.NewBucket(alice, 0), 2, control.Set{"BTC-USD": control.Latest})
	gone := want(subject.NewBucket(alice, 1), 2, control.Set{"BTC-USD": control.Latest, "ETH-USD": control.Latest})
	older := want(subject.NewBucket(alice, 2), 2, control.Set{"BTC-USD": control.Latest})
	for _, r := range []*control.InterestRequest{kept, gone, older} {
		b.change(r)
	}
	if a := b.heartbeat(beat(alice, 0, kept, gone, older)); len(a.Lost) > 0 {
		t.Errorf("lost %v right after it was answered for", a.Lost)
	}
	kv, err := b.js.KeyValue(t.Context(), subject.KVInterest)
	if err != nil {
		t.Fatal(err)
	}
	if err := kv.Delete(t.Context(), subject.InterestKey(gone.Bucket, subject.Part("ETH-USD"))); err != nil {
		t.Fatal(err)
	}
	older.Number = 3 // answered for, and then KV lost its last writes
	natstest.Eventually(t, soon, func() bool {
		a := b.heartbeat(beat(alice, 0, kept, gone, older))
		return slices.Equal(a.Lost, []subject.Bucket{gone.Bucket, older.Bucket})
	}, "lost names them")
	unanswered := beat(alice, 0, kept)
	unanswered.Buckets[0].Parts[subject.Part("BTC-USD")^1] = 0
	if a := b.heartbeat(unanswered); len(a.Lost) > 0 {
		t.Errorf("lost %v for a part that was never answered for", a.Lost)
	}
}

func TestStoppingEdgeIsRemovedAtOnce(t *testing.T) {
	b := newBench(t)
	b.start(slow)
	b.start(slow)
	first := want(subject.NewBucket(alice, 0), 1, control.Set{"BTC-USD": control.Latest, "ETH-USD": control.Latest})
	second := want(subject.NewBucket(alice, 1), 1, control.Set{"BTC-USD": control.Latest})
	others := want(subject.NewBucket(bob, 0), 1, control.Set{"BTC-USD": control.Latest})
	for _, r := range []*control.InterestRequest{first, second, others} {
		b.change(r)
	}
	b.heartbeat(beat(alice, 0, first, second))
	b.heartbeat(beat(bob, 50, others))
	last := beat(alice, 0, first, second)
	last.Stopping = true
	b.heartbeat(last)
	b.heartbeat(last) // no harm
	if !b.has(others) {
		t.Errorf("stored %v, want bob's alone", b.stored())
	}
	natstest.Eventually(t, soon, func() bool { return b.located(bob) }, "locate leaves alice out")
	kv, err := b.js.KeyValue(t.Context(), subject.KVEdges)
	if err != nil {
		t.Fatal(err)
	}
	if keys, err := kv.Keys(t.Context()); err != nil || !slices.Equal(keys, []string{string(bob)}) {
		t.Errorf("leases %v, %v", keys, err)
	}
}

// What `nats micro ls`, `info` and `stats` ask.
func TestDiscovery(t *testing.T) {
	b := newBench(t)
	b.start(slow)
	b.start(slow)
	b.askAll(t, micro.PingVerb, 2, func(data []byte) {
		var p micro.Ping
		if err := json.Unmarshal(data, &p); err != nil || p.Name != "tickfan-registry" || p.Version == "" || p.Metadata["region"] != "local" {
			t.Errorf("ping %s, %v", data, err)
		}
	})
	b.askAll(t, micro.InfoVerb, 2, func(data []byte) {
		var info micro.Info
		if err := json.Unmarshal(data, &info); err != nil || info.Description == "" {
			t.Errorf("info %s, %v", data, err)
		}
		var subjects []string
		for _, e := range info.Endpoints {
			if e.QueueGroup == "" {
				t.Errorf("endpoint %s has no queue group: each registry would do the same", e.Name)
			}
			subjects = append(subjects, e.Subject)
		}
		if !slices.Equal(subjects, []string{"registry.local.interest", "registry.local.heartbeat", "registry.local.locate",
			"registry.local.edges", "registry.local.buckets", "registry.local.symbol.*", "registry.local.drain.*"}) {
			t.Errorf("endpoints %v", subjects)
		}
	})

	askRaw[control.InterestAnswer](b, subject.EndpointInterest, []byte("junk"))
	errors := 0
	b.askAll(t, micro.StatsVerb, 2, func(data []byte) {
		var stats micro.Stats
		if err := json.Unmarshal(data, &stats); err != nil {
			t.Fatal(err)
		}
		for _, e := range stats.Endpoints {
			errors += e.NumErrors
		}
	})
	if errors != 1 {
		t.Errorf("%d errors in the stats, want 1", errors)
	}
}

// askAll asks every instance and takes n answers.
func (b *bench) askAll(t *testing.T, verb micro.Verb, n int, answer func([]byte)) {
	t.Helper()
	s, err := micro.ControlSubject(verb, "", "")
	if err != nil {
		t.Fatal(err)
	}
	inbox := nats.NewInbox()
	sub, err := b.nc.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.nc.PublishRequest(s, inbox, nil); err != nil {
		t.Fatal(err)
	}
	for range n {
		m, err := sub.NextMsg(soon)
		if err != nil {
			t.Fatal(err)
		}
		answer(m.Data)
	}
}
