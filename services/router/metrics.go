package router

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tickfan/tickfan/libs/telemetry"
	"github.com/tickfan/tickfan/services/router/internal/history"
	"github.com/tickfan/tickfan/services/router/internal/route"
)

// metrics are what an operator sees of a router. The counters of the hot path are the router's own atomics, read when
// someone looks.
type metrics struct {
	registration metric.Registration
	repairs      metric.Int64Counter
}

// figure is an instrument over one atomic.
type figure struct {
	name, description, unit string
	value                   *atomic.Int64
	gauge                   bool
}

func newMetrics(meter metric.Meter, r *route.Router, ranges *history.Stats, copies int) (*metrics, error) {
	wanted := new(atomic.Int64)
	wanted.Store(int64(copies))
	stats, batches := r.Stats(), r.BatchStats()
	figures := []figure{
		{name: "ticks", value: &stats.Ticks, description: "Ticks that came on ticks.>."},
		{name: "ticks_old", value: &stats.Old, description: "Ticks dropped because their symbol's newest was not before them."},
		{name: "ticks_missed", value: &stats.Missed, description: "Ticks that ingest's beats count and that did not come; newest ones are then read from stream TICKS."},
		{name: "ticks_repaired", value: &stats.Repaired, description: "Ticks taken from stream TICKS that were newer than what was known."},
		{name: "batches", value: &batches.Batches, description: "Batches sent to buckets, empty ones included."},
		{name: "items", value: &batches.Items, description: "Ticks sent in batches, counted per bucket."},
		{name: "bytes", value: &batches.Bytes, unit: "By", description: "Size of the batches sent."},
		{name: "announcements", value: &stats.Announced, description: "Changed parts of interest that the registry announced."},
		{name: "announcements_given_up", value: &stats.GivenUp, description: "Announced parts that KV never held and that were removed; zero in peace."},
		{name: "interest_lost", value: &stats.Lost, description: "Parts of interest that KV lost, served on until their edges have them written again; zero in peace."},
		{name: "newest_requests", value: &stats.Requests, description: "Requests for newest ticks or a range."},
		{name: "ranges", value: &ranges.Asked, description: "Ranges of ticks asked for."},
		{name: "ranges_refused", value: &ranges.Refused, description: "Ranges that were not read to their end: too many at a time, or TICKS does not answer."},
		{name: "range_ticks", value: &ranges.Ticks, description: "Ticks told in answers to ranges."},
		{name: "publish_errors", value: &stats.Errors, description: "Messages that the connection refused."},
		{name: "symbols", value: &stats.Symbols, gauge: true, description: "Symbols that have a price."},
		{name: "interest_buckets", value: &stats.Buckets, gauge: true, description: "Buckets that want something."},
		{name: "served_buckets", value: &stats.Served, gauge: true, description: "Buckets that this router serves."},
		{name: "routers", value: &stats.Routers, gauge: true, description: "Routers of the region that serve buckets, as this one has heard, itself included."},
		{name: "copies", value: wanted, gauge: true, description: "Routers that are to serve each bucket."},
		{name: "interest_symbols", value: &stats.Wants, gauge: true, description: "Symbols wanted, counted per bucket."},
		{name: "interest_ahead", value: &stats.Ahead, gauge: true, description: "Parts announced that KV does not hold yet, or not any more."},
		{name: "beat_age", value: &stats.BeatAge, gauge: true, unit: "ms", description: "Age of ingest's last beat; -1 before the first."},
	}
	m := &metrics{}
	var errs []error
	keep := func(err error) { errs = append(errs, err) }

	var observe []func(metric.Observer)
	var instruments []metric.Observable
	for _, f := range figures {
		i, err := f.instrument(meter)
		keep(err)
		instruments = append(instruments, i)
		observe = append(observe, func(o metric.Observer) { o.ObserveInt64(i, f.value.Load()) })
	}
	malformed, err := meter.Int64ObservableCounter("tickfan.router.malformed",
		metric.WithDescription("Messages that could not be read, by kind."))
	keep(err)
	m.repairs, err = meter.Int64Counter("tickfan.router.repairs",
		metric.WithDescription("Times that newest ticks were read again because some may have been missed, by reason."))
	keep(err)
	stats.Age, err = telemetry.NewAge(meter, "tickfan.router.tick.age", "Age of ticks when the router has them, since ingest stamped them.")
	keep(err)
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("make instruments: %w", err)
	}
	m.registration, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for _, f := range observe {
			f(o)
		}
		for kind := range route.Kinds {
			o.ObserveInt64(malformed, stats.Malformed[kind].Load(), metric.WithAttributes(attribute.String("kind", kind.String())))
		}
		return nil
	}, append(instruments, malformed)...)
	if err != nil {
		return nil, fmt.Errorf("register instruments: %w", err)
	}
	// At 0 from the start, so that a rate over the first event is seen.
	for _, reason := range []string{reconnect, dropped, missed, mirrored} {
		m.repairs.Add(context.Background(), 0, metric.WithAttributes(attribute.String("reason", reason)))
	}
	return m, nil
}

func (f *figure) instrument(meter metric.Meter) (metric.Int64Observable, error) {
	name := "tickfan.router." + f.name
	if f.gauge {
		return meter.Int64ObservableGauge(name, metric.WithDescription(f.description), metric.WithUnit(f.unit))
	}
	return meter.Int64ObservableCounter(name, metric.WithDescription(f.description), metric.WithUnit(f.unit))
}

func (m *metrics) repaired(ctx context.Context, reason string) {
	m.repairs.Add(ctx, 1, metric.WithAttributes(attribute.String("reason", reason)))
}

// close ends the instruments, which would keep the router in memory. It cannot fail for a registration that was made
// once and is ended once.
func (m *metrics) close() { _ = m.registration.Unregister() }
