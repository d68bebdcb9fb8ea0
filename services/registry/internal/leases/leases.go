package leases

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/metric"

	"github.com/tickfan/tickfan/libs/kvview"
	"github.com/tickfan/tickfan/libs/ops"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/services/registry/internal/store"
)

// attempts is how often a write is decided again after a conflict. Two registries get the heartbeats of one edge only
// when one of them was late.
const attempts = 5

// Options say where the leases are.
type Options struct {
	JS    jetstream.JetStream
	Store *store.Store
	TTL   time.Duration
	Log   *slog.Logger
	Meter metric.Meter

	Condition *ops.Condition // met while the leases are known to be those of the store
}

// Leases are the edges of the region. Its methods may be called from any goroutine.
type Leases struct {
	store *store.Store
	ttl   time.Duration
	view  *kvview.View[subject.Edge, control.Lease]

	mu      sync.RWMutex
	renewed map[subject.Edge]time.Time // when the last renewal was seen
}

// Open reads all leases. They live as long as ctx; the caller closes them.
func Open(ctx context.Context, o Options) (*Leases, error) {
	l := &Leases{store: o.Store, ttl: o.TTL, renewed: map[subject.Edge]time.Time{}}
	view, err := kvview.Open(ctx, kvview.Options[subject.Edge, control.Lease]{
		JS:       o.JS,
		Store:    subject.KVEdges,
		Key:      subject.ParseEdge,
		Value:    decode,
		OnChange: l.changed,
		Log:      o.Log,
		Meter:    o.Meter,

		Condition: o.Condition,
	})
	if err != nil {
		return nil, err
	}
	l.view = view
	return l, nil
}

func decode(e subject.Edge, value []byte) (lease control.Lease, err error) {
	if err := json.Unmarshal(value, &lease); err != nil {
		return lease, fmt.Errorf("decode lease: %w", err)
	}
	if lease.Edge != e {
		return lease, fmt.Errorf("decode lease: it names edge %q", lease.Edge)
	}
	return lease, nil
}

func (l *Leases) changed(c kvview.Change[subject.Edge, control.Lease]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.Gone {
		delete(l.renewed, c.Key)
	} else {
		l.renewed[c.Key] = time.Now()
	}
}

// TTL is how long a lease lasts after a heartbeat.
func (l *Leases) TTL() time.Duration { return l.ttl }

// Reconnected asks for a confirmation of the view.
func (l *Leases) Reconnected() { l.view.Reconnected() }

// Close ends the view.
func (l *Leases) Close() { l.view.Close() }

// Renew writes an edge's lease, whether there is one or not. drain: the edge was told to.
func (l *Leases) Renew(ctx context.Context, lease control.Lease) (drain bool, err error) {
	e, _ := l.view.Get(lease.Edge)
	lease.Drain = e.Value.Drain
	revision := e.Revision
	for range attempts {
		err = l.write(ctx, lease, revision)
		if !errors.Is(err, store.ErrConflict) {
			break
		}
		now, getErr := l.store.Get(ctx, string(lease.Edge))
		if getErr != nil {
			return false, fmt.Errorf("renew lease: %w", getErr)
		}
		lease.Drain = false
		if old, decodeErr := decode(lease.Edge, now.Value); now.Exists && decodeErr == nil {
			lease.Drain = old.Drain
		}
		revision = now.Revision
	}
	if err != nil {
		return false, fmt.Errorf("renew lease: %w", err)
	}
	return lease.Drain, nil
}

// Drain tells an edge to, with its next heartbeat, whichever registry gets that. false: there is no such edge.
func (l *Leases) Drain(ctx context.Context, e subject.Edge) (found bool, err error) {
	for range attempts {
		now, getErr := l.store.Get(ctx, string(e))
		if getErr != nil {
			return false, fmt.Errorf("tell edge to drain: %w", getErr)
		}
		lease, decodeErr := decode(e, now.Value)
		if !now.Exists || decodeErr != nil {
			return false, nil
		}
		lease.Drain = true
		if err = l.write(ctx, lease, now.Revision); !errors.Is(err, store.ErrConflict) {
			break
		}
	}
	if err != nil {
		return false, fmt.Errorf("tell edge to drain: %w", err)
	}
	return true, nil
}

// write is one attempt at a revision.
func (l *Leases) write(ctx context.Context, lease control.Lease, revision uint64) error {
	lease.Renewed = time.Now().UnixMicro()
	value, err := json.Marshal(lease)
	if err != nil {
		return fmt.Errorf("encode lease: %w", err)
	}
	return l.store.Write(ctx, string(lease.Edge), value, revision, l.ttl)
}

// End removes an edge's lease, if there is one.
func (l *Leases) End(ctx context.Context, e subject.Edge) (err error) {
	for range attempts {
		now, getErr := l.store.Get(ctx, string(e))
		if getErr != nil {
			return fmt.Errorf("end lease: %w", getErr)
		}
		if !now.Exists {
			return nil
		}
		err = l.store.Purge(ctx, string(e), now.Revision)
		if !errors.Is(err, store.ErrConflict) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("end lease: %w", err)
	}
	return nil
}

// Declare writes into the store that an edge, which is not live, is dead, and says whether it did: not when the lease
// was renewed unseen. Since it writes, its success also says that KV takes writes.
func (l *Leases) Declare(ctx context.Context, e subject.Edge) (bool, error) {
	seen, _ := l.view.Get(e)
	now, err := l.store.Get(ctx, string(e))
	if err != nil {
		return false, fmt.Errorf("declare edge dead: %w", err)
	}
	if now.Exists && now.Revision != seen.Revision || l.Live(e) {
		return false, nil
	}
	err = l.store.Purge(ctx, string(e), now.Revision)
	if errors.Is(err, store.ErrConflict) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("declare edge dead: %w", err)
	}
	return true, nil
}

// Exists asks the store itself whether an edge has a lease.
func (l *Leases) Exists(ctx context.Context, e subject.Edge) (bool, error) {
	now, err := l.store.Get(ctx, string(e))
	if err != nil {
		return false, fmt.Errorf("look for lease: %w", err)
	}
	return now.Exists, nil
}

// Live says whether an edge has a lease that has not run out. The server removes one that has within a second or so;
// this is exact.
func (l *Leases) Live(e subject.Edge) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	at, ok := l.renewed[e]
	return ok && time.Since(at) < l.ttl
}

// Overdue are the edges whose leases have run out but still are in the store.
func (l *Leases) Overdue() []subject.Edge {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var edges []subject.Edge
	for e, at := range l.renewed {
		if time.Since(at) >= l.ttl {
			edges = append(edges, e)
		}
	}
	return edges
}

// All are the live leases, sorted by edge.
func (l *Leases) All() []control.Lease {
	all := []control.Lease{} // an empty list in JSON, not null
	for e, entry := range l.view.All() {
		if l.Live(e) {
			all = append(all, entry.Value)
		}
	}
	slices.SortFunc(all, func(a, b control.Lease) int { return cmp.Compare(a.Edge, b.Edge) })
	return all
}

// Len is how many edges live.
func (l *Leases) Len() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	n := 0
	for _, at := range l.renewed {
		if time.Since(at) < l.ttl {
			n++
		}
	}
	return n
}

// takesClients: it is not draining, nor told to, and not full.
func takesClients(lease control.Lease) bool {
	return !lease.Draining && !lease.Drain && lease.Connections < lease.Capacity
}

// Others is how many edges but one take clients.
func (l *Leases) Others(but subject.Edge) (n int) {
	for e, entry := range l.view.All() {
		if e != but && l.Live(e) && takesClients(entry.Value) {
			n++
		}
	}
	return n
}

// Locate is the least loaded edge that takes clients.
func (l *Leases) Locate() (control.Lease, bool) {
	var best []control.Lease // all of the least load
	for _, lease := range l.All() {
		if !takesClients(lease) {
			continue
		}
		if len(best) > 0 {
			// a/b against c/d without a division
			switch cmp.Compare(int64(lease.Connections)*int64(best[0].Capacity), int64(best[0].Connections)*int64(lease.Capacity)) {
			case 1:
				continue
			case -1:
				best = best[:0]
			}
		}
		best = append(best, lease)
	}
	if len(best) == 0 {
		return control.Lease{}, false
	}
	// One of several equals by chance: else all clients that come between two heartbeats go to the same.
	return best[rand.IntN(len(best))], true
}
