package lease

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/libs/ops"
	"github.com/tickfan/tickfan/libs/quiet"
	"github.com/tickfan/tickfan/services/ingest/internal/store"
)

// Times of the lease.
const (
	TTL   = 5 * time.Second        // how long an unrefreshed lease keeps others out
	Every = time.Second            // between two refreshes
	Retry = 200 * time.Millisecond // after one that was not answered, and between two tries to win

	ask      = time.Second // for one answer of JetStream
	logEvery = 10 * time.Second
	markers  = 5 * time.Minute // how long LEADER keeps the mark of a key that went
)

// Holder is what the lease lets stamp. All calls come from one goroutine, but for Prepare's, and must not block: the lease
// is refreshed by the same.
type Holder interface {
	// Won comes first: nobody else stamps any more.
	Won()
	// Prepare readies an epoch, whose number is not known yet, after the lease was won, and gives the highest epoch
	// that TICKS knows. It is called again until it succeeds or ctx ends.
	Prepare(ctx context.Context) (highest uint64, err error)
	// Begin starts the prepared epoch.
	Begin(epoch uint64)
	// Keep allows stamping until then, by a clock that a pause of the process does not stop.
	Keep(until time.Time)
	// End stops stamping.
	End()
}

// Options of a Lease. The times are those above where zero.
type Options struct {
	JetStream jetstream.JetStream
	Instance  string // this process's run; nobody else's, and new at each start
	Replicas  int    // of LEADER
	Holder    Holder
	Condition *ops.Condition // met while this instance stamps, or hears another one that does and could take over
	Log       *slog.Logger
	Now       func() time.Time
	Ready     func() // called when the condition is met; must not block

	TTL, Every, Retry time.Duration
}

// Lease wins, keeps and gives back the right to stamp.
type Lease struct {
	o  Options
	kv jetstream.KeyValue // nil until LEADER was found or made, and after it was missed

	seen  atomic.Uint64 // the highest epoch seen on ticks.> and in beat
	proof chan struct{} // seen rose

	past uint64 // last known revision of the lease that was lost

	alive  time.Time // when the refresh timer last fired, or an answer came
	paused bool

	unanswered atomic.Int64
	lost       atomic.Int64

	faults *quiet.Log
}

// New returns a Lease; Run does the work.
func New(o Options) *Lease {
	o.TTL, o.Every, o.Retry = cmp.Or(o.TTL, TTL), cmp.Or(o.Every, Every), cmp.Or(o.Retry, Retry)
	return &Lease{o: o, proof: make(chan struct{}, 1), faults: quiet.New(o.Log, logEvery)}
}

// Observe tells the lease of an epoch on ticks.> or in beat. It may be called from any goroutine and does not block.
func (l *Lease) Observe(epoch uint64) {
	if epoch >= store.MaxEpoch {
		return // nobody counts that far; see store.MaxEpoch
	}
	for {
		old := l.seen.Load()
		if epoch <= old {
			return
		}
		if l.seen.CompareAndSwap(old, epoch) {
			break
		}
	}
	select {
	case l.proof <- struct{}{}:
	default:
	}
}

// Unanswered is the number of refreshes that JetStream did not answer.
func (l *Lease) Unanswered() int64 { return l.unanswered.Load() }

// Lost is the number of times that the lease was lost to another ingest.
func (l *Lease) Lost() int64 { return l.lost.Load() }

// Run wins the lease and keeps it, again and again, until ctx ends; then it stops the holder and gives the lease back.
func (l *Lease) Run(ctx context.Context) error {
	for {
		rev, ok := l.win(ctx)
		if !ok {
			return nil
		}
		l.o.Holder.Won()
		err := l.hold(ctx, rev)
		if err == nil {
			return nil
		}
		l.lost.Add(1)
		l.o.Log.Warn("lease lost", "error", err)
		l.o.Condition.Set(fmt.Errorf("standby: lease lost: %w", err))
	}
}

// win tries until it has the lease or ctx ends.
func (l *Lease) win(ctx context.Context) (rev uint64, ok bool) {
	t := time.NewTicker(l.o.Retry)
	defer t.Stop()
	said := ""
	for {
		rev, holder, err := l.try(ctx)
		switch {
		case ctx.Err() != nil:
			return 0, false
		case err != nil:
			l.o.Condition.Lost(fmt.Errorf("lease: %w", err))
			l.warn("lease cannot be asked for", err)
		case holder == "":
			l.o.Log.Info("lease won")
			return rev, true
		default:
			standby := fmt.Sprintf("standby: %s holds the lease", holder)
			if l.seen.Load() > 0 {
				l.ready(standby)
			} else { // a dead one's, perhaps our own of before
				l.o.Condition.Set(errors.New(standby + ", but has not been heard"))
			}
			if standby != said {
				l.o.Log.Info(standby)
				said = standby
			}
		}
		select {
		case <-ctx.Done():
			return 0, false
		case <-t.C:
		}
	}
}

// hold keeps the lease, beginning with what is to do before the first tick. It returns nil when ctx ended and the
// lease was given back, else the proof that another ingest stamps.
func (l *Lease) hold(ctx context.Context, rev uint64) error {
	term := &term{l: l, rev: rev}
	l.o.Condition.Set(errors.New("lease won; reading what TICKS knows"))
	prepareCtx, stop := context.WithCancel(ctx)
	prepared, done := make(chan uint64, 1), make(chan struct{})
	go func() { // beside the refreshes, for TICKS may be large
		defer close(done)
		term.prepare(prepareCtx, prepared)
	}()
	defer func() {
		stop()
		<-done
		l.o.Holder.End()
		term.release(ctx)
		l.past = term.rev
	}()

	l.alive, l.paused = l.o.Now(), false
	ready, highest := false, uint64(0)
	timer := time.NewTimer(l.o.Every)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case highest = <-prepared:
			ready = true
		case <-l.proof:
		case <-timer.C:
		}
		if term.epoch != 0 && l.seen.Load() > term.epoch {
			return fmt.Errorf("epoch %d is on the bus, ours is %d", l.seen.Load(), term.epoch)
		}
		l.live()
		answered, err := term.refresh(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case answered && l.paused:
			l.paused = false
			l.o.Log.Warn("the lease is still ours after the pause", "epoch", term.epoch)
			if term.epoch != 0 {
				l.leads(term.epoch)
			}
		}
		if l.live() && answered && ready && term.epoch == 0 {
			answered = l.begin(ctx, term, highest)
		}
		if answered {
			timer.Reset(l.o.Every)
		} else {
			timer.Reset(l.o.Retry)
		}
	}
}

// begin writes the epoch and lets the holder stamp in it, unless this process is paused over it: another one may have the
// lease then, and the next refresh tells.
func (l *Lease) begin(ctx context.Context, term *term, highest uint64) bool {
	epoch, err := term.takeEpoch(ctx, highest)
	if err != nil {
		l.missed(err)
		l.warn("epoch cannot begin yet", err)
		return false
	}
	if !l.live() {
		return false
	}
	term.epoch = epoch
	l.o.Holder.Begin(epoch)
	l.o.Log.Info("stamping", "epoch", epoch)
	l.leads(epoch)
	return true
}

func (l *Lease) leads(epoch uint64) { l.ready(fmt.Sprintf("leads in epoch %d", epoch)) }

func (l *Lease) ready(role string) {
	l.o.Condition.Met(role)
	l.o.Ready()
}

// live notes that this process runs, and lets the holder go on unless it finds that it was paused: then another may
// stamp by now, and the holder waits for an answered refresh. How late is too late is told to the holder beforehand,
// so that it notices by itself, whichever goroutine wakes up first. false: it waits.
func (l *Lease) live() bool {
	now := l.o.Now()
	grace := l.o.TTL + l.o.Every
	if late := now.Sub(l.alive); late > grace && !l.paused {
		l.paused = true
		l.o.Log.Warn("this process was paused; stamping waits for an answered refresh", "paused", late.Round(time.Millisecond))
		l.o.Condition.Set(fmt.Errorf("was paused for %s; waiting for an answered refresh of the lease", late.Round(time.Millisecond)))
	}
	l.alive = now
	if !l.paused {
		l.o.Holder.Keep(now.Add(grace))
	}
	return !l.paused
}

// warn writes at most one line of a kind in a while.
func (l *Lease) warn(what string, err error) { l.faults.Warn(what, what, "error", err) }
