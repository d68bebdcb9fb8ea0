package kvview

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// reason is why a view is confirmed; the attribute of a metric.
type reason string

const (
	opened      reason = "opened"
	periodic    reason = "periodic"
	reconnected reason = "reconnected"
	watchFailed reason = "watch_failed" // messages were lost, or the consumer ended
	mute        reason = "mute"         // no heartbeat
	recreated   reason = "recreated"    // the stream is another one, or none
	rewound     reason = "rewound"      // the stream lost its last messages
	lagging     reason = "lagging"      // the watch does not deliver what the stream has
	suspected   reason = "suspected"    // the last confirmation left doubts
)

// stuck is how long a new watch may deliver nothing while it should.
const stuck = 5 * time.Second

// snapshot is the store as a new watch read it.
type snapshot[K comparable, V any] struct {
	entries map[K]Entry[V]
	removed map[K]time.Time // by marker, when
	refused map[string]uint64
	last    uint64    // sequence of the stream before it was read
	settled time.Time // what changed before this, by the server's clock, had time to arrive
}

// confirm reads the store with a new watch and puts that in the place of the old one. When
// it cannot, the view stays as it is, and the next attempt comes later.
func (v *View[K, V]) confirm(ctx context.Context) bool {
	why := v.why
	next, snap, err := v.readStore(ctx)
	if err != nil {
		if ctx.Err() == nil {
			v.retry = min(max(2*v.retry, retryFirst), retryMost)
			v.nextConfirm = time.Now().Add(v.retry)
			v.o.Condition.Lost(err)
			v.warn(err)
		}
		return false
	}
	old := v.live
	v.live = next
	v.swap(snap, old)
	if old != nil {
		old.close()
		old.remove(ctx)
	}
	v.why, v.retry, v.behind = "", 0, 0
	v.faults.Over("")
	v.o.Condition.Set(nil)
	v.nextConfirm = time.Now().Add(jitter(v.o.Confirm))
	v.nextCheck = time.Now().Add(v.interval())
	if len(v.suspects) > 0 {
		v.due(suspected)
	}
	v.metrics.confirmed(why)
	return true
}

func (v *View[K, V]) warn(err error) {
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		v.faults.Log(slog.LevelInfo, "", "waiting for the store, which does not exist")
		return
	}
	v.faults.Warn("", "store not confirmed, trying again", "reason", v.why, "error", err)
}

// readStore reads the whole store into a snapshot and returns the watch that goes on from
// there. Meanwhile the live watch is served; the snapshot is never behind it.
func (v *View[K, V]) readStore(ctx context.Context) (*watch, *snapshot[K, V], error) {
	find, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	stream, err := v.o.JS.Stream(find, "KV_"+v.o.Store)
	if err != nil {
		return nil, nil, fmt.Errorf("find store %s: %w", v.o.Store, err)
	}
	w, err := openWatch(ctx, v.o.JS.Conn(), stream, v.o.Store)
	if err != nil {
		return nil, nil, fmt.Errorf("watch store %s: %w", v.o.Store, err)
	}
	info := stream.CachedInfo()
	snap := &snapshot[K, V]{
		entries: map[K]Entry[V]{},
		removed: map[K]time.Time{},
		refused: map[string]uint64{},
		last:    info.State.LastSeq,
		settled: info.TimeStamp.Add(-v.interval()),
	}
	err = v.fill(ctx, snap, w, info.State.LastSeq, v.live.messages())
	if err == nil && v.live.follows(w) {
		err = v.fill(ctx, snap, w, v.live.position, nil)
	}
	if err != nil {
		w.close()
		return nil, nil, fmt.Errorf("read store %s: %w", v.o.Store, err)
	}
	return w, snap, nil
}

// fill reads from w up to sequence target.
func (v *View[K, V]) fill(ctx context.Context, snap *snapshot[K, V], w *watch, target uint64, live <-chan *nats.Msg) error {
	progress := time.NewTimer(stuck)
	defer progress.Stop()
	for {
		switch past, err := w.isPast(ctx, target); {
		case err != nil:
			return err
		case past:
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-progress.C:
			return fmt.Errorf("nothing came for %s at %d of %d messages", stuck, w.position, target)
		case m := <-live:
			// A fault of the old watch is no matter any more.
			if c, ok, err := v.live.take(m); err != nil {
				live = nil
			} else if ok {
				v.apply(c)
			}
		case m := <-w.msgs:
			at := w.position
			c, ok, err := w.take(m)
			if err != nil {
				return err
			}
			if w.position > at {
				progress.Reset(stuck)
			}
			if ok {
				v.note(snap, c)
			}
		}
	}
}

// note puts a change into a snapshot.
func (v *View[K, V]) note(snap *snapshot[K, V], c change) {
	key, e, ok := v.read(c, snap.refused)
	switch {
	case !ok:
		if old, had := v.entries[key]; had && !c.gone {
			snap.entries[key] = old
		}
	case c.gone:
		delete(snap.entries, key)
		snap.removed[key] = c.at
	default:
		delete(snap.removed, key)
		snap.entries[key] = e
	}
}

// swap shows the snapshot and tells how it differs from what was shown. What the old watch
// should have told long ago is a ghost (a key that was gone) or a missing entry.
//
// A key that is not in the snapshot, nor its marker, need not be gone: it may have been
// written while it was read, after the old message was passed over and before the new one is
// due. So it is suspected first, and gone when the next reading does not find it either.
func (v *View[K, V]) swap(snap *snapshot[K, V], old *watch) {
	same := old.follows(v.live)
	ghosts, missing := 0, 0
	var changes []Change[K, V]
	suspects := map[K]uint64{}
	for key, was := range v.entries {
		if _, still := snap.entries[key]; still {
			continue
		}
		at, marked := snap.removed[key]
		if same && !marked && v.suspects[key] != was.Revision {
			suspects[key] = was.Revision
			snap.entries[key] = was
			continue
		}
		if !marked || at.Before(snap.settled) {
			ghosts++
		}
		lost := !marked && (!same || was.Revision > snap.last) // the stream is another one, or was put back
		changes = append(changes, Change[K, V]{Key: key, Gone: true, Lost: lost, Entry: Entry[V]{Revision: was.Revision}})
	}
	for key, e := range snap.entries {
		was, had := v.entries[key]
		if had && same && was.Revision == e.Revision && was.at.Equal(e.at) { // a store that was put back gives revisions again
			continue
		}
		if old != nil && (same || !had) && e.at.Before(snap.settled) {
			missing++
		}
		changes = append(changes, Change[K, V]{Key: key, Entry: e})
	}

	v.suspects, v.refused = suspects, snap.refused
	v.mu.Lock()
	v.entries = snap.entries
	v.mu.Unlock()
	for _, c := range changes {
		v.tell(c)
	}
	if ghosts+missing > 0 {
		v.metrics.ghosts.Add(context.Background(), int64(ghosts))
		v.metrics.missing.Add(context.Background(), int64(missing))
		v.log.Warn("view did not show what the store holds", "reason", v.why, "ghosts", ghosts, "missing", missing)
	}
}
