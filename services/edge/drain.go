package edge

import (
	"context"
	"errors"
	"time"

	"github.com/tickfan/tickfan/services/edge/internal/bucket"
	"github.com/tickfan/tickfan/services/edge/internal/lease"
)

// drainLook is how often a draining edge looks whether all have gone.
const drainLook = 50 * time.Millisecond

var errDraining = errors.New("draining: clients are being sent to other edges")

// drain sends the clients to other edges, if there are any: first nobody is sent here any more, then each client is told
// in its turn, and served until it goes. It returns when all have gone, or when the time is over.
func (e *edge) drain(l *lease.Lease) {
	n := e.connections()
	if e.cfg.DrainTimeout == 0 || n == 0 {
		return
	}
	e.draining.Store(true)
	e.cond.Set(errDraining)
	l.Ask(context.Background())
	if l.Others() == 0 {
		e.deps.Log.Info("not draining: no other edge takes clients", "connections", n)
		return
	}
	e.deps.Log.Info("draining", "connections", n, "other_edges", l.Others(), "timeout", e.cfg.DrainTimeout)
	e.each(func(b *bucket.Bucket) { b.Drain(e.cfg.DrainTimeout * 4 / 5) })
	ctx, cancel := context.WithTimeout(context.Background(), e.cfg.DrainTimeout)
	defer cancel()
	look := time.NewTicker(drainLook)
	defer look.Stop()
	for left := n; left > 0; left = e.connections() {
		select {
		case <-look.C:
			if l.Others() == 0 { // they stop, too
				e.deps.Log.Warn("no other edge takes clients any more; the rest is cut off", "connections", left)
				return
			}
		case <-ctx.Done():
			e.deps.Log.Warn("not drained in time; the rest is cut off", "connections", left)
			return
		}
	}
	e.deps.Log.Info("drained")
}

// connections is how many clients there are.
func (e *edge) connections() (n int) {
	e.each(func(b *bucket.Bucket) { n += b.Connections() })
	return n
}
