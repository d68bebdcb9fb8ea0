package bus

import (
	"context"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Drops counts the messages that this process was too slow to take from its subscriptions
// (their pending limits were reached), as tickfan.nats.dropped by the attribute subscription.
// nats.go reports only the first of an episode, so each subscription is asked at every scrape.
// Its methods may be called from any goroutine.
type Drops struct {
	registration metric.Registration

	mu    sync.Mutex
	ended map[string]int64 // by name: what subscriptions no longer watched had dropped
	subs  map[*watched]struct{}
}

type watched struct {
	name string
	sub  *nats.Subscription
	last int64 // the last count read; a subscription that ended has none
}

// NewDrops registers the counter. Make one for a service's meter, and close it.
func NewDrops(meter metric.Meter) (*Drops, error) {
	d := &Drops{ended: map[string]int64{}, subs: map[*watched]struct{}{}}
	counter, err := meter.Int64ObservableCounter("tickfan.nats.dropped",
		metric.WithDescription("Messages lost because a subscription of this process was not read fast enough."))
	if err != nil {
		return nil, fmt.Errorf("make tickfan.nats.dropped: %w", err)
	}
	d.registration, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for name, n := range d.counts() {
			o.ObserveInt64(counter, n, metric.WithAttributes(attribute.String("subscription", name)))
		}
		return nil
	}, counter)
	if err != nil {
		return nil, fmt.Errorf("register tickfan.nats.dropped: %w", err)
	}
	return d, nil
}

// Watch counts the drops of sub under a name, which is a label: a few fixed names ("ticks",
// "fanout"), shared by subscriptions of one kind, never one per bucket or client. Call the
// returned function before the subscription ends, or once it has ended; what was dropped
// stays counted.
func (d *Drops) Watch(name string, sub *nats.Subscription) (stop func()) {
	w := &watched{name: name, sub: sub}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.subs[w] = struct{}{}
	return sync.OnceFunc(func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.ended[name] += w.readLocked()
		delete(d.subs, w)
	})
}

// Count is the number of messages dropped so far under a name.
func (d *Drops) Count(name string) int64 { return d.counts()[name] }

// Close ends the counter.
func (d *Drops) Close() error {
	if err := d.registration.Unregister(); err != nil {
		return fmt.Errorf("end tickfan.nats.dropped: %w", err)
	}
	return nil
}

func (d *Drops) counts() map[string]int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	counts := make(map[string]int64, len(d.ended))
	for name, n := range d.ended {
		counts[name] += n
	}
	for w := range d.subs {
		counts[w.name] += w.readLocked()
	}
	return counts
}

// readLocked asks the subscription; the lock is that of Drops.
func (w *watched) readLocked() int64 {
	if n, err := w.sub.Dropped(); err == nil {
		w.last = int64(n)
	}
	return w.last
}
