package kvview

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/metric"

	"github.com/tickfan/tickfan/libs/ops"
	"github.com/tickfan/tickfan/libs/quiet"
)

const (
	defaultConfirm = 30 * time.Second

	// checksPerConfirm is how often, between two confirmations, the stream is asked whether
	// it is still the one that is watched. The interval is also what a change is given to
	// arrive.
	checksPerConfirm = 6

	// lookEvery is how exactly all times are kept.
	lookEvery = 100 * time.Millisecond

	retryFirst = 100 * time.Millisecond
	retryMost  = 2 * time.Second
	logEvery   = 10 * time.Second
)

// Entry is a key's value, and the store's revision that set it, for compare-and-set.
type Entry[V any] struct {
	Value    V // shared: not to be changed
	Revision uint64
	at       time.Time
}

// Change is what a View tells about one key.
type Change[K comparable, V any] struct {
	Key  K
	Gone bool // the key was deleted or purged, or its time was up
	Lost bool // with Gone: nobody removed it, the store was lost or put back
	Entry[V]
}

// Options say what to watch.
type Options[K comparable, V any] struct {
	JS    jetstream.JetStream
	Store string // the KV store's name

	// Key and Value read a key and a value. What they refuse is logged, counted and left
	// out; a key whose new value is refused keeps its old one.
	Key   func(key string) (K, error)
	Value func(key K, value []byte) (V, error)

	// OnChange is called with every change in order, from one goroutine, also for the first
	// snapshot; may be nil. The View shows the change by then. A confirmation may report a
	// key at a value that it already had.
	OnChange func(Change[K, V])

	Confirm time.Duration // between two confirmations; 0 is 30 s
	Log     *slog.Logger  // never nil
	Meter   metric.Meter  // nil counts nothing

	// Condition is met once all has been read, and lost when a confirmation cannot be had: then nobody knows whether the
	// View still shows what the store holds. May be nil.
	Condition *ops.Condition
}

// View is the live copy. Its methods may be called from any goroutine.
type View[K comparable, V any] struct {
	o       Options[K, V]
	log     *slog.Logger
	metrics *metrics

	reconnected chan struct{}
	cancel      context.CancelFunc
	done        chan struct{}

	mu      sync.RWMutex
	entries map[K]Entry[V]

	// Of the goroutine run.
	live        *watch
	refused     map[string]uint64 // revision of each value that could not be read
	suspects    map[K]uint64      // revision of each entry that the last confirmation did not find
	behind      uint64            // last sequence of the stream at the last check
	nextCheck   time.Time
	nextConfirm time.Time
	why         reason // of the confirmation that is due
	retry       time.Duration
	faults      *quiet.Log
}

// Open waits until the store exists and returns when all of it has been read; a key that was
// written meanwhile may come a moment later. The View lives as long as ctx; the caller closes
// it. The error is ctx's cause, or that of an instrument.
func Open[K comparable, V any](ctx context.Context, o Options[K, V]) (*View[K, V], error) {
	o.Confirm = cmp.Or(o.Confirm, defaultConfirm)
	log := o.Log.With("store", o.Store)
	v := &View[K, V]{
		o:           o,
		log:         log,
		faults:      quiet.New(log, logEvery),
		reconnected: make(chan struct{}, 1),
		done:        make(chan struct{}),
		entries:     map[K]Entry[V]{},
		why:         opened,
	}
	var err error
	if v.metrics, err = newMetrics(o.Meter, o.Store, v.len); err != nil {
		return nil, fmt.Errorf("open view of %s: %w", o.Store, err)
	}
	run, cancel := context.WithCancel(ctx)
	v.cancel = cancel
	first := make(chan struct{})
	go v.run(run, first)
	select {
	case <-first:
		return v, nil
	case <-ctx.Done():
		v.Close()
		return nil, fmt.Errorf("open view of %s: %w", o.Store, context.Cause(ctx))
	}
}

// Get is a key's entry.
func (v *View[K, V]) Get(key K) (Entry[V], bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	e, ok := v.entries[key]
	return e, ok
}

// All goes over a copy that was taken at one moment, in no order.
func (v *View[K, V]) All() iter.Seq2[K, Entry[V]] {
	v.mu.RLock()
	all := maps.Clone(v.entries)
	v.mu.RUnlock()
	return maps.All(all)
}

// Reconnected asks for a confirmation now. Call it after each reconnection to NATS; it does
// not block.
func (v *View[K, V]) Reconnected() {
	select {
	case v.reconnected <- struct{}{}:
	default:
	}
}

// Close ends the View and waits for its goroutine. What it showed last can still be read.
func (v *View[K, V]) Close() {
	v.cancel()
	<-v.done
	v.metrics.close()
}

func (v *View[K, V]) len() int {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return len(v.entries)
}

func (v *View[K, V]) run(ctx context.Context, first chan<- struct{}) {
	defer close(v.done)
	defer func() {
		if v.live != nil {
			v.live.close()
		}
	}()
	ticker := time.NewTicker(min(lookEvery, v.interval()))
	defer ticker.Stop()
	for ctx.Err() == nil {
		if v.why != "" && !time.Now().Before(v.nextConfirm) {
			if v.confirm(ctx) && first != nil {
				close(first)
				first = nil
			}
			continue
		}
		select {
		case <-ctx.Done():
		case <-v.reconnected:
			v.due(reconnected)
		case m := <-v.live.messages():
			c, ok, err := v.live.take(m)
			if err != nil {
				v.faults.Warn("watch", "watch failed", "error", err)
				v.due(watchFailed)
			} else if ok {
				v.apply(c)
			}
		case <-ticker.C:
			v.look(ctx)
		}
	}
}

func (v *View[K, V]) interval() time.Duration { return v.o.Confirm / checksPerConfirm }

// due asks for a confirmation at once. Of several reasons the first is told.
func (v *View[K, V]) due(why reason) {
	if v.why == "" {
		v.why = why
	}
	v.nextConfirm = time.Time{}
}

// look finds reasons to confirm: the time, a mute watch, a stream that does not fit.
func (v *View[K, V]) look(ctx context.Context) {
	now := time.Now()
	switch {
	case v.why != "": // a failed confirmation waits for its next attempt
	case now.Sub(v.live.heard) > muteAfter:
		v.due(mute)
	case !now.Before(v.nextConfirm):
		v.due(periodic)
	case !now.Before(v.nextCheck):
		v.nextCheck = now.Add(v.interval())
		if why := v.check(ctx); why != "" {
			v.due(why)
		}
	}
}

// check asks the stream whether it fits what was watched. No answer is no reason: a
// confirmation would get none either.
func (v *View[K, V]) check(ctx context.Context) reason {
	ctx, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	info, err := v.live.stream.Info(ctx)
	if err != nil {
		v.log.Debug("stream not checked", "error", err)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return recreated
		}
		return ""
	}
	missed := v.behind
	v.behind = info.State.LastSeq
	switch {
	case !info.Created.Equal(v.live.created):
		return recreated
	case info.State.LastSeq < v.live.position:
		return rewound
	case v.live.position < missed: // a whole interval was not enough to deliver it
		return lagging
	}
	return ""
}

// apply puts a change of the live watch into the view and tells it.
func (v *View[K, V]) apply(c change) {
	key, e, ok := v.read(c, v.refused)
	if !ok {
		return
	}
	v.mu.Lock()
	_, had := v.entries[key]
	if c.gone {
		delete(v.entries, key)
	} else {
		v.entries[key] = e
	}
	v.mu.Unlock()
	if !c.gone || had {
		v.tell(Change[K, V]{Key: key, Gone: c.gone, Entry: e})
	}
}

func (v *View[K, V]) tell(c Change[K, V]) {
	if v.o.OnChange != nil {
		v.o.OnChange(c)
	}
}

// read reads a change's key and value. What cannot be read is remembered in refused, and
// logged and counted unless v knew of it: confirmations come across it again and again.
func (v *View[K, V]) read(c change, refused map[string]uint64) (key K, e Entry[V], ok bool) {
	delete(refused, c.key)
	key, err := v.o.Key(c.key)
	if err == nil {
		e = Entry[V]{Revision: c.revision, at: c.at}
		if c.gone {
			return key, e, true
		}
		e.Value, err = v.o.Value(key, c.value)
	}
	if err == nil {
		return key, e, true
	}
	if c.gone {
		return key, e, false
	}
	if v.refused[c.key] != c.revision {
		v.metrics.refused.Add(context.Background(), 1)
		v.faults.Warn("entry", "entry not understood", "key", c.key, "revision", c.revision, "error", err)
	}
	refused[c.key] = c.revision
	return key, e, false
}

// jitter spreads what many processes do at the same interval: d, 10 % more or less.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.9 + 0.2*rand.Float64()))
}
