package registry

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
)

// becomes waits until only the given interest is stored, and says when it first was.
func (b *bench) becomes(requests ...*control.InterestRequest) time.Time {
	b.t.Helper()
	natstest.Eventually(b.t, soon, func() bool { return b.has(requests...) }, "stored is %v", requests)
	return time.Now()
}

func TestDeadEdge(t *testing.T) {
	b := newBench(t)
	first, second := b.start(quick), b.start(quick)
	dead := want(subject.NewBucket(alice, 0), 1, control.Set{"BTC-USD": control.Latest, "ETH-USD": control.Every})
	alive := want(subject.NewBucket(bob, 0), 1, control.Set{"BTC-USD": control.Latest})
	b.change(dead)
	b.change(alive)
	b.keepAlive(beat(bob, 50, alive), quick.lease/4)
	last := time.Now()
	b.heartbeat(beat(alice, 0, dead))
	natstest.Eventually(t, soon, func() bool { return b.located(alice) }, "alice is located while she lives")

	natstest.Eventually(t, soon, func() bool { return b.located(bob) }, "alice is not located any more")
	if !b.has(dead, alive) {
		t.Error("the interest went with the lease, not after the grace")
	}
	if took := b.becomes(alive).Sub(last); took < quick.lease+quick.grace {
		t.Errorf("the interest was removed %s after the last heartbeat, before lease and grace were over", took)
	}
	if !first.scrape("tickfan_registry_expirations_total{ 1") && !second.scrape("tickfan_registry_expirations_total{ 1") {
		t.Error("the expiration is not in the metrics")
	}

	// From the dead: the edge is told, and sends it again.
	if a := b.heartbeat(beat(alice, 0, dead)); len(a.Lost) != 1 || a.Lost[0] != dead.Bucket {
		t.Errorf("lost %v, want %s", a.Lost, dead.Bucket)
	}
	b.change(dead)
	if !b.has(dead, alive) {
		t.Errorf("stored %v", b.stored())
	}
}

// A heartbeat within the grace saves the interest.
func TestLateHeartbeat(t *testing.T) {
	b := newBench(t)
	times := quick
	times.grace = 3 * time.Second
	b.start(times)
	r := want(subject.NewBucket(alice, 0), 1, control.Set{"BTC-USD": control.Latest})
	b.change(r)
	b.heartbeat(beat(alice, 0, r))
	natstest.Eventually(t, soon, func() bool { return b.located(alice) }, "alice is located")
	natstest.Eventually(t, soon, func() bool { return !b.located(alice) }, "alice is not located any more")
	began := time.Now()
	stop := b.keepAlive(beat(alice, 0, r), times.lease/4)
	natstest.Eventually(t, soon, func() bool {
		if !b.has(r) {
			t.Fatal("the interest of an edge that lives was removed")
		}
		return time.Since(began) > times.grace+time.Second
	}, "the grace is over")
	stop()
	b.becomes()
}

// Interest whose edge never had a lease.
func TestOrphan(t *testing.T) {
	b := newBench(t)
	b.start(quick)
	b.change(want(subject.NewBucket(alice, 0), 1, control.Set{"BTC-USD": control.Latest}))
	b.becomes()
}

// While NATS is away longer than a lease, all leases run out. Nothing may be removed for that.
func TestNATSRestartWipesNothing(t *testing.T) {
	b := newBench(t)
	b.start(quick)
	b.start(quick)
	var all []*control.InterestRequest
	for n := range 3 {
		r := want(subject.NewBucket([]subject.Edge{alice, bob, "carol-cccccc"}[n], 0), 1, control.Set{"BTC-USD": control.Latest})
		all = append(all, r)
		b.change(r)
		b.keepAlive(beat(r.Bucket.Edge(), 0, r), quick.lease/8)
	}
	b.server.Stop()
	down := time.NewTimer(quick.lease + quick.grace + time.Second)
	<-down.C // an outage that lasts, not a wait for something
	b.server.Restart()
	began := time.Time{}
	natstest.Eventually(t, soon, func() bool {
		stored, err := b.read()
		if err != nil {
			return false // not up yet
		}
		if began.IsZero() {
			began = time.Now()
		}
		if len(stored) != 3 {
			t.Fatalf("stored %v", stored)
		}
		return time.Since(began) > quick.lease+2*quick.grace
	}, "lease and grace pass with all interest in place")
	if !b.has(all...) {
		t.Errorf("stored %v", b.stored())
	}
}

// A registry that came up a moment ago knows nothing of the heartbeats before.
func TestRegistryRestart(t *testing.T) {
	b := newBench(t)
	i := b.start(quick)
	r := want(subject.NewBucket(alice, 0), 1, control.Set{"BTC-USD": control.Latest})
	b.change(r)
	b.heartbeat(beat(alice, 0, r))
	i.stop()
	kv, err := b.js.KeyValue(t.Context(), subject.KVEdges)
	if err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, soon, func() bool {
		_, err := kv.Get(t.Context(), string(alice))
		return errors.Is(err, jetstream.ErrKeyNotFound)
	}, "the lease runs out while no registry is there")

	b.start(quick)
	began := time.Now()
	if a := b.heartbeat(beat(alice, 0, r)); len(a.Lost) > 0 || !b.has(r) {
		t.Errorf("lost %v, stored %v", a.Lost, b.stored())
	}
	natstest.Eventually(t, soon, func() bool { return b.located(alice) }, "alice is located again")
	if took := b.becomes().Sub(began); took < quick.lease+quick.grace {
		t.Errorf("the interest was removed after %s", took)
	}
}

// One of two registries dies without a word; requests that were on their way to it are repeated.
func TestRegistryDies(t *testing.T) {
	b := newBench(t)
	b.start(slow)
	way := natstest.NewCable(t, b.server.URL())
	dying := b.startAt(way.URL(), slow)
	way.Cut()
	for n := range uint64(50) {
		r := want(subject.NewBucket(alice, 0), n+1, control.Set{"BTC-USD": control.Latest})
		b.change(r)
		if !b.has(r) {
			t.Fatalf("stored %v after change %d", b.stored(), r.Number)
		}
	}
	dying.stop() // the cut is no reason to hang
}

// The stores are made again when they are lost, and filled by those who hold what was in them.
func TestStoresLost(t *testing.T) {
	b := newBench(t)
	b.start(slow)
	r := want(subject.NewBucket(alice, 0), 4, control.Set{"BTC-USD": control.Latest})
	b.change(r)
	b.heartbeat(beat(alice, 0, r))
	for _, name := range []string{subject.KVEdges, subject.KVInterest} {
		if err := b.js.DeleteKeyValue(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	natstest.Eventually(t, soon, func() bool {
		a := ask[control.HeartbeatAnswer](b, subject.EndpointHeartbeat, beat(alice, 0, r))
		return a.Error == nil && len(a.Lost) == 1
	}, "the loss is noticed")
	natstest.Eventually(t, soon, func() bool {
		return ask[control.InterestAnswer](b, subject.EndpointInterest, r).Error == nil
	}, "the interest is taken again")
	if !b.has(r) {
		t.Errorf("stored %v", b.stored())
	}
}

// Requests that came before the stop are answered.
func TestStopAnswers(t *testing.T) {
	b := newBench(t)
	i := b.start(slow)
	inbox := nats.NewInbox()
	answers, err := b.nc.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	const n = 200
	for j := range n {
		payload := encode(t, want(subject.NewBucket(alice, j), 1, control.Set{"BTC-USD": control.Latest}))
		if err := b.nc.PublishRequest(subject.Registry(region, subject.EndpointInterest), inbox, payload); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	i.stop()
	for j := range n {
		if _, err := answers.NextMsg(soon); err != nil {
			t.Fatalf("answer %d: %v", j, err)
		}
	}
}
