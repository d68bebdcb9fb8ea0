package reaper_test

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/libs/bus"
	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/services/registry/internal/leases"
	"github.com/tickfan/tickfan/services/registry/internal/parts"
	"github.com/tickfan/tickfan/services/registry/internal/reaper"
	"github.com/tickfan/tickfan/services/registry/internal/store"
)

func TestMain(m *testing.M) { natstest.Main(m) }

const (
	edge = subject.Edge("alice-aaaaaa")
	soon = 20 * time.Second
)

// region is what a Reaper works on, with the interest of an edge that has no lease.
type region struct {
	health  store.Health
	leases  *leases.Leases
	parts   *parts.Parts
	expired atomic.Int64
	removed atomic.Int64
	deaf    atomic.Bool
}

func newRegion(t *testing.T) *region {
	t.Helper()
	js, err := bus.JetStream(t.Context(), natstest.Start(t).Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	r := &region{}
	log := slog.New(slog.DiscardHandler)
	r.leases, err = leases.Open(t.Context(), leases.Options{JS: js, Store: r.store(t, js, subject.KVEdges), TTL: time.Minute, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.leases.Close)
	r.parts, err = parts.Open(t.Context(), parts.Options{
		JS: js, Store: r.store(t, js, subject.KVInterest), Region: "local", Log: log, Written: func() {},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.parts.Close)
	err = r.parts.Change(t.Context(), &control.InterestRequest{
		Bucket: subject.NewBucket(edge, 0), Number: 1, Parts: map[int]control.Set{0: {}, 1: {}},
	})
	if err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, soon, r.stands, "the interest is seen")
	return r
}

func (r *region) store(t *testing.T, js jetstream.JetStream, name string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{
		JS: js, Name: name, Replicas: 1, Log: slog.New(slog.DiscardHandler), Health: &r.health,
		Observe: func(string, store.Op, time.Duration, error) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (r *region) stands() bool { return len(r.parts.Edges()) > 0 }

func (r *region) reap(t *testing.T, grace time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		reaper.New(reaper.Options{
			Leases: r.leases, Parts: r.parts, Health: &r.health, Hears: func() bool { return !r.deaf.Load() }, Grace: grace, Every: 5 * time.Millisecond,
			Log:     slog.New(slog.DiscardHandler),
			Expired: func() { r.expired.Add(1) },
			Removed: func(n int) { r.removed.Add(int64(n)) },
		}).Run(ctx)
	})
	t.Cleanup(func() { cancel(); running.Wait() })
}

// Nothing is removed until KV has worked for the whole grace.
func TestFailingKV(t *testing.T) {
	r := newRegion(t)
	const grace = 200 * time.Millisecond
	r.health.Fail()
	r.reap(t, grace)
	began := time.Now()
	natstest.Eventually(t, soon, func() bool {
		r.health.Fail()
		if !r.stands() {
			t.Fatal("interest was removed while KV failed")
		}
		return time.Since(began) > 5*grace
	}, "five times the grace is over")
	natstest.Eventually(t, soon, func() bool { return !r.stands() }, "the interest is removed")
	natstest.Eventually(t, soon, func() bool { return r.removed.Load() == 2 }, "both parts are counted")
	if n := r.expired.Load(); n != 1 {
		t.Errorf("one dead edge was counted %d times", n)
	}
}

// A registry that cannot hear heartbeats does not take their absence for death, however well KV works.
func TestDeafRegistry(t *testing.T) {
	r := newRegion(t)
	const grace = 200 * time.Millisecond
	r.deaf.Store(true)
	r.reap(t, grace)
	began := time.Now()
	natstest.Eventually(t, soon, func() bool {
		if !r.stands() || r.expired.Load() > 0 {
			t.Fatal("an edge was declared dead that could not be heard")
		}
		return time.Since(began) > 5*grace
	}, "five times the grace is over")
	r.deaf.Store(false)
	natstest.Eventually(t, soon, func() bool { return !r.stands() }, "the interest is removed")
}

func TestLeaseSaves(t *testing.T) {
	r := newRegion(t)
	const grace = 200 * time.Millisecond
	r.reap(t, grace)
	natstest.Eventually(t, soon, func() bool { return r.expired.Load() == 1 }, "the edge is declared dead")
	if _, err := r.leases.Renew(t.Context(), control.Lease{Edge: edge}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	natstest.Eventually(t, soon, func() bool {
		if !r.stands() {
			t.Fatal("interest of an edge with a lease was removed")
		}
		return time.Since(began) > 5*grace
	}, "five times the grace is over")
}
