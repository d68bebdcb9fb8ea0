package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tickfan/tickfan/services/registry/internal/store"
)

// metrics are what an operator sees of a registry. It does little enough that each event counts itself.
type metrics struct {
	requests     metric.Int64Counter
	changes      metric.Int64Counter
	expirations  metric.Int64Counter
	removals     metric.Int64Counter
	kvDuration   metric.Float64Histogram
	kvErrors     metric.Int64Counter
	leases       metric.Int64ObservableGauge
	registration metric.Registration // nil until leases are known
}

func newMetrics(meter metric.Meter) (*metrics, error) {
	m := &metrics{}
	var errs [7]error
	m.requests, errs[0] = meter.Int64Counter("tickfan.registry.requests",
		metric.WithDescription("Requests answered, by endpoint and code."))
	m.changes, errs[1] = meter.Int64Counter("tickfan.registry.interest_changes",
		metric.WithDescription("Parts of interest written; repeats and late ones are not."))
	m.expirations, errs[2] = meter.Int64Counter("tickfan.registry.expirations",
		metric.WithDescription("Edges that were declared dead, their leases having run out."))
	m.removals, errs[3] = meter.Int64Counter("tickfan.registry.removals",
		metric.WithDescription("Parts of interest removed because their edge was dead."))
	m.kvDuration, errs[4] = meter.Float64Histogram("tickfan.registry.kv_duration", metric.WithUnit("s"),
		metric.WithDescription("How long KV took, by store and operation."),
		metric.WithExplicitBucketBoundaries(.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5))
	m.kvErrors, errs[5] = meter.Int64Counter("tickfan.registry.kv_errors",
		metric.WithDescription("Operations that KV did not do, by store and operation."))
	m.leases, errs[6] = meter.Int64ObservableGauge("tickfan.registry.leases",
		metric.WithDescription("Edges that live."))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("make instruments: %w", err)
	}
	// At 0 from the start, so that a rate over the first event is seen.
	for _, c := range []metric.Int64Counter{m.changes, m.expirations, m.removals} {
		c.Add(context.Background(), 0)
	}
	return m, nil
}

// watchLeases serves the number of leases.
func (m *metrics) watchLeases(meter metric.Meter, count func() int) (err error) {
	m.registration, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(m.leases, int64(count()))
		return nil
	}, m.leases)
	if err != nil {
		return fmt.Errorf("register tickfan.registry.leases: %w", err)
	}
	return nil
}

// serves has the failures of a store at 0 from the start, so that a rate over the first one is seen.
func (m *metrics) serves(name string) {
	for _, op := range []store.Op{store.Get, store.Write, store.Purge} {
		m.kvErrors.Add(context.Background(), 0, kvAttributes(name, op))
	}
}

func kvAttributes(name string, op store.Op) metric.MeasurementOption {
	return metric.WithAttributes(attribute.String("store", name), attribute.String("op", string(op)))
}

func (m *metrics) answered(endpoint, code string) {
	m.requests.Add(context.Background(), 1,
		metric.WithAttributes(attribute.String("endpoint", endpoint), attribute.String("code", code)))
}

func (m *metrics) written()      { m.changes.Add(context.Background(), 1) }
func (m *metrics) expired()      { m.expirations.Add(context.Background(), 1) }
func (m *metrics) removed(n int) { m.removals.Add(context.Background(), int64(n)) }

func (m *metrics) kv(name string, op store.Op, took time.Duration, err error) {
	attrs := kvAttributes(name, op)
	m.kvDuration.Record(context.Background(), took.Seconds(), attrs)
	if err != nil {
		m.kvErrors.Add(context.Background(), 1, attrs)
	}
}

// close ends the gauge, which would keep the leases in memory. It cannot fail for a registration that was made once
// and is ended once.
func (m *metrics) close() {
	if m.registration != nil {
		_ = m.registration.Unregister()
	}
}
