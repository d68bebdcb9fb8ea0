package lease

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/services/ingest/internal/store"
)

// term is one time of holding the lease.
type term struct {
	l     *Lease
	rev   uint64 // of the lease as we know it
	epoch uint64 // 0 until it was written
}

// prepare readies the holder, trying until that is done or ctx ends, and sends the highest epoch that TICKS knows.
func (t *term) prepare(ctx context.Context, prepared chan<- uint64) {
	retry := time.NewTicker(t.l.o.Retry)
	defer retry.Stop()
	for {
		highest, err := t.l.o.Holder.Prepare(ctx)
		switch {
		case err == nil:
			prepared <- highest
			return
		case ctx.Err() != nil:
			return
		}
		t.l.warn("epoch cannot begin yet", err)
		select {
		case <-ctx.Done():
			return
		case <-retry.C:
		}
	}
}

// takeEpoch writes an epoch above all earlier ones: those in LEADER, in TICKS and on the bus, and, should JetStream's
// data be lost with all three, those of any earlier second.
func (t *term) takeEpoch(ctx context.Context, highest uint64) (uint64, error) {
	if t.l.kv == nil {
		return 0, errors.New("no store " + subject.KVLeader)
	}
	rev, old, err := t.l.epoch(ctx)
	if err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
		return 0, fmt.Errorf("read epoch: %w", err)
	}
	if old >= store.MaxEpoch {
		old = 0
	}
	epoch := max(old+1, highest+1, t.l.seen.Load()+1, uint64(max(t.l.o.Now().Unix(), 0)))
	if err := t.l.writeEpoch(ctx, rev, epoch); err != nil {
		return 0, fmt.Errorf("write epoch: %w", err)
	}
	return epoch, nil
}

// refresh makes the lease live on and looks at the epoch. It tells whether both were answered; the error is proof
// that another ingest stamps.
func (t *term) refresh(ctx context.Context) (answered bool, lost error) {
	l := t.l
	if err := l.bucket(ctx); err != nil || l.kv == nil {
		return t.silence(ctx, err)
	}
	rev, err := l.refresh(ctx, t.rev, t.epoch)
	switch {
	case wrongRevision(err):
		if answered, lost := t.look(ctx); !answered || lost != nil {
			return answered, lost
		}
	case err != nil:
		return t.silence(ctx, l.missed(err))
	default:
		t.rev = rev
	}
	if t.epoch == 0 {
		return true, nil
	}
	return t.checkEpoch(ctx)
}

// look finds out why the lease's revision is not ours. A missing key is no proof of another holder: a server that was
// away longer than the TTL purges it at boot. It is made again.
func (t *term) look(ctx context.Context) (answered bool, lost error) {
	l := t.l
	l.live()
	rev, v, err := l.lease(ctx)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		if rev, err = l.create(ctx, t.epoch); err != nil {
			return t.silence(ctx, err) // taken just now, perhaps; the next look tells by whom
		}
		t.rev = rev
		l.o.Log.Warn("lease was gone and is made again", "epoch", t.epoch)
		return true, nil
	case err != nil:
		return t.silence(ctx, l.missed(err))
	case v.Instance == l.o.Instance:
		t.rev = rev // a refresh whose answer was lost
		return false, nil
	case rev < t.rev:
		return false, nil // a lagging replica's, from before us
	}
	return true, fmt.Errorf("%s holds the lease", v.Instance)
}

// checkEpoch finds a higher epoch in LEADER, or writes ours again if it is gone.
func (t *term) checkEpoch(ctx context.Context) (answered bool, lost error) {
	t.l.live()
	rev, epoch, err := t.l.epoch(ctx)
	switch {
	case err != nil && !errors.Is(err, jetstream.ErrKeyNotFound):
		return t.silence(ctx, t.l.missed(err))
	case err == nil && epoch > t.epoch && epoch < store.MaxEpoch:
		return true, fmt.Errorf("%s has epoch %d, ours is %d", subject.KVLeader, epoch, t.epoch)
	case err == nil && epoch == t.epoch:
		return true, nil
	}
	if err := t.l.writeEpoch(ctx, rev, t.epoch); err != nil {
		return t.silence(ctx, t.l.missed(err))
	}
	t.l.o.Log.Warn("epoch was gone and is written again", "epoch", t.epoch)
	return true, nil
}

// silence notes that JetStream did not answer, or could not do what was asked; neither is proof.
func (t *term) silence(ctx context.Context, err error) (answered bool, lost error) {
	if ctx.Err() == nil && err != nil {
		t.l.unanswered.Add(1)
		t.l.warn("refresh of the lease not answered; stamping goes on", err)
	}
	return false, nil
}

// release gives the lease back if it is still ours, so that the next ingest need not wait for the TTL.
func (t *term) release(ctx context.Context) {
	if t.l.kv == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ask)
	defer cancel()
	err := t.l.kv.Purge(ctx, subject.KeyLease, jetstream.LastRevision(t.rev), jetstream.PurgeTTL(markers))
	if err != nil && !errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		// No warning: NATS may have stopped with us, and where it has not another ingest waits a TTL longer.
		t.l.o.Log.Info("lease not given back; it runs out by itself", "error", err, "ttl", t.l.o.TTL)
	}
}
