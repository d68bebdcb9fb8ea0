package kvview

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
)

type metrics struct {
	ghosts       metric.Int64Counter
	missing      metric.Int64Counter
	refused      metric.Int64Counter
	confirmation metric.Int64Counter
	registration metric.Registration
}

// newMetrics makes the instruments of a view, tickfan.<store>.…
func newMetrics(meter metric.Meter, store string, entries func() int) (*metrics, error) {
	if meter == nil {
		meter = noop.Meter{}
	}
	prefix := "tickfan." + strings.ToLower(store) + "."
	m := &metrics{}
	var errs [6]error
	m.ghosts, errs[0] = meter.Int64Counter(prefix+"ghosts",
		metric.WithDescription("Entries that the view still showed although the store had them no more; zero in peace."))
	m.missing, errs[1] = meter.Int64Counter(prefix+"missing",
		metric.WithDescription("Entries of the store that the view did not show, or at an old value; zero in peace."))
	m.refused, errs[2] = meter.Int64Counter(prefix+"refused",
		metric.WithDescription("Entries of the store that could not be read."))
	m.confirmation, errs[3] = meter.Int64Counter(prefix+"confirmations",
		metric.WithDescription("Times that the view was compared with the store, by reason."))
	gauge, err := meter.Int64ObservableGauge(prefix+"entries",
		metric.WithDescription("Entries that the view shows."))
	errs[4] = err
	if err == nil {
		m.registration, errs[5] = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
			o.ObserveInt64(gauge, int64(entries()))
			return nil
		}, gauge)
	}
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("make instruments: %w", err)
	}
	// At 0 from the start, so that a rate over the first event is seen.
	for _, c := range []metric.Int64Counter{m.ghosts, m.missing, m.refused} {
		c.Add(context.Background(), 0)
	}
	return m, nil
}

func (m *metrics) confirmed(why reason) {
	m.confirmation.Add(context.Background(), 1, metric.WithAttributes(attribute.String("reason", string(why))))
}

// close ends the gauge, which would keep the view in memory. It cannot fail for a
// registration that was made once and is ended once.
func (m *metrics) close() { _ = m.registration.Unregister() }
