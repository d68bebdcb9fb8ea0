package reaper

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/tickfan/tickfan/libs/quiet"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/services/registry/internal/leases"
	"github.com/tickfan/tickfan/services/registry/internal/parts"
	"github.com/tickfan/tickfan/services/registry/internal/store"
)

const logEvery = 10 * time.Second

// Options say whom to look after.
type Options struct {
	Leases *leases.Leases
	Parts  *parts.Parts
	Health *store.Health
	Hears  func() bool   // whether heartbeats can come
	Grace  time.Duration // from an edge's declaration to the removal of its interest
	Every  time.Duration // between two looks
	Log    *slog.Logger

	Expired func()      // called for each edge declared dead
	Removed func(n int) // called with the number of parts removed
}

// Reaper looks for interest whose edge has no lease, of the dead and of whom else, in two steps:
//
//	lease runs out --> declared dead, in KV --- Grace --> interest removed
//	                         |  a heartbeat came or could not come, or KV failed, or NATS was away
//	                         +--> not declared any more
//
// So interest is removed only by a registry that has itself been up, hearing and writing KV, for the whole of Grace, in which
// every edge had the time for three heartbeats. Several registries do the same at the same time and do no harm.
type Reaper struct {
	o        Options
	declared map[subject.Edge]time.Time
	faults   *quiet.Log
}

// New makes a Reaper for Run.
func New(o Options) *Reaper {
	return &Reaper{o: o, declared: map[subject.Edge]time.Time{}, faults: quiet.New(o.Log, logEvery)}
}

// Run looks until ctx ends.
func (r *Reaper) Run(ctx context.Context) {
	ticker := time.NewTicker(r.o.Every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := r.look(ctx); err != nil && ctx.Err() == nil {
			r.faults.Warn("look", "dead edges not removed, trying again", "error", err)
		}
	}
}

// look does one step for each edge that may be dead. It ends at the first error: when KV fails, nothing may be done
// anyway.
func (r *Reaper) look(ctx context.Context) error {
	if !r.o.Hears() {
		r.o.Health.Fail()
		return nil
	}
	dead := r.suspects()
	for e := range r.declared {
		if !dead[e] {
			delete(r.declared, e)
		}
	}
	for e := range dead {
		at, declared := r.declared[e]
		var err error
		switch {
		case !declared || !r.o.Health.GoodSince(at):
			err = r.declare(ctx, e, !declared)
		case time.Since(at) >= r.o.Grace:
			err = r.remove(ctx, e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// suspects are the edges that are in the stores and have no lease that lasts.
func (r *Reaper) suspects() map[subject.Edge]bool {
	dead := map[subject.Edge]bool{}
	for _, e := range append(r.o.Parts.Edges(), r.o.Leases.Overdue()...) {
		if !r.o.Leases.Live(e) {
			dead[e] = true
		}
	}
	return dead
}

func (r *Reaper) declare(ctx context.Context, e subject.Edge, first bool) error {
	delete(r.declared, e)
	// From before the write: all that fails after this makes it void.
	at := time.Now()
	done, err := r.o.Leases.Declare(ctx, e)
	if err != nil || !done {
		return err
	}
	r.declared[e] = at
	if first {
		r.o.Expired()
		r.o.Log.Info("edge has no lease; its interest is removed unless it is heard of", "edge", e, "within", r.o.Grace)
	}
	return nil
}

func (r *Reaper) remove(ctx context.Context, e subject.Edge) error {
	// The view may lag; this decides over thousands of clients.
	exists, err := r.o.Leases.Exists(ctx, e)
	if err != nil {
		return err
	}
	if exists {
		delete(r.declared, e)
		return nil
	}
	// Forgotten once the views show that it is gone; should they not, it is due again.
	r.declared[e] = time.Now()
	n, err := r.o.Parts.Remove(ctx, e, nil)
	r.o.Removed(n)
	if n > 0 {
		r.o.Log.Info("interest of a dead edge removed", "edge", e, "parts", n)
	}
	if err != nil {
		return fmt.Errorf("remove interest of edge %s: %w", e, err)
	}
	return nil
}
