package edge

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tickfan/tickfan/libs/telemetry"
	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/services/edge/internal/bucket"
)

// metrics reads the buckets' counters when it is asked; nothing on the hot path knows of it.
type metrics struct{ registration metric.Registration }

func (m *metrics) Close() { _ = m.registration.Unregister() }

func newMetrics(meter metric.Meter, e *edge) (*metrics, error) {
	var faults []error
	var all []metric.Observable
	counter := func(name, unit, help string) metric.Int64ObservableCounter {
		c, err := meter.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(help))
		faults, all = append(faults, err), append(all, c)
		return c
	}
	gauge := func(name, unit, help string) metric.Int64ObservableGauge {
		g, err := meter.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(help))
		faults, all = append(faults, err), append(all, g)
		return g
	}
	s := &e.stats
	plain := []struct {
		read func() int64
		c    metric.Int64ObservableCounter
	}{
		{s.Batches.Load, counter("tickfan.edge.batches", "{batch}", "Batches received from routers.")},
		{s.Ticks.Load, counter("tickfan.edge.ticks", "{tick}", "Ticks received in batches.")},
		{s.Old.Load, counter("tickfan.edge.ticks.old", "{tick}", "Ticks that were not newer than the one known.")},
		{s.Unwanted.Load, counter("tickfan.edge.ticks.unwanted", "{tick}", "Ticks of symbols that no connection wants.")},
		{s.Unknown.Load, counter("tickfan.edge.items.unknown", "{item}", "Batch items of a kind that this edge does not know.")},
		{s.Malformed.Load, counter("tickfan.edge.malformed", "{message}", "Payloads from routers that could not be read.")},
		{s.Holes.Load, counter("tickfan.edge.holes", "{hole}", "Steps in batch numbers that show lost batches.")},
		{s.Resyncs.Load, counter("tickfan.edge.resyncs", "{resync}", "Times that the newest of everything was asked for.")},
		{s.Deliveries.Load, counter("tickfan.edge.deliveries", "{tick}", "Ticks written to clients.")},
		{s.Conflated.Load, counter("tickfan.edge.conflated", "{tick}", "Ticks that a newer one replaced before they were written.")},
		{s.Gaps.Load, counter("tickfan.edge.gaps", "{gap}", "Gaps told to clients in mode every.")},
		{s.RangesAsked.Load, counter("tickfan.edge.ranges", "{range}", "Ranges of ticks asked of routers for clients in mode every.")},
		{s.Filled.Load, counter("tickfan.edge.ranges.ticks", "{tick}", "Ticks that came with their answers.")},
		{s.Writes.Load, counter("tickfan.edge.writes", "{write}", "Writes of ticks to sockets.")},
		{s.Bytes.Load, counter("tickfan.edge.written", "By", "Bytes of those writes.")},
		{s.Refused.Load, counter("tickfan.edge.writes.refused", "{write}", "Writes that a socket did not take whole.")},
		{s.Pings.Load, counter("tickfan.edge.pings", "{ping}", "Pings sent.")},
		{s.Requests.Load, counter("tickfan.edge.requests", "{request}", "Requests of clients that could be read.")},
		{e.forgotten.Load, counter("tickfan.edge.interest.lost", "{bucket}", "Buckets whose interest the registry had lost, this edge's lease having run out; it was sent again.")},
		{s.RequestErrors.Load, counter("tickfan.edge.control.errors", "{error}", "Requests to the registry or to routers that failed.")},
	}
	refused := counter("tickfan.edge.refused", "{request}", "Requests of clients that were refused, by code.")
	closed := counter("tickfan.edge.closed", "{connection}", "Connections that ended, by WebSocket close code.")
	conns := gauge("tickfan.edge.connections", "{connection}", "Connections open.")
	limit := gauge("tickfan.edge.connections.limit", "{connection}", "Most connections that this edge takes.")
	buckets := gauge("tickfan.edge.buckets", "{bucket}", "Buckets open.")
	symbols := gauge("tickfan.edge.interest", "{symbol}", "Symbols wanted of the routers, summed over buckets.")
	slow := gauge("tickfan.edge.connections.slow", "{connection}", "Connections whose socket takes no more for now; each gets the newest when it does.")
	waiting := gauge("tickfan.edge.connections.waiting", "{connection}", "Connections with newer prices whose turn is to come, by the write gap or their max_rate; about.")
	var err error
	s.Taken, err = telemetry.NewAge(meter, "tickfan.edge.tick.age", "Age of ticks when the edge has them, since ingest stamped them.")
	faults = append(faults, err)
	s.Written, err = telemetry.NewAge(meter, "tickfan.edge.delivery.age", "Age of ticks when they go to a client, of one in 17 writes that answer nothing.")
	faults = append(faults, err)
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	r, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for _, p := range plain {
			o.ObserveInt64(p.c, p.read())
		}
		s.RefusedByCode(func(c code.Code, n int64) {
			o.ObserveInt64(refused, n, metric.WithAttributes(attribute.String("code", string(c))))
		})
		s.EndedByCode(func(c code.Close, n int64) {
			o.ObserveInt64(closed, n, metric.WithAttributes(attribute.Int("code", int(c))))
		})
		var nConns, nBuckets, nSymbols, nWaiting int64
		e.each(func(b *bucket.Bucket) {
			snap := b.Snapshot()
			nBuckets++
			nConns += int64(snap.Connections)
			nSymbols += int64(snap.Symbols)
			nWaiting += int64(b.Waiting())
		})
		o.ObserveInt64(conns, nConns)
		o.ObserveInt64(limit, int64(e.maxConns))
		o.ObserveInt64(buckets, nBuckets)
		o.ObserveInt64(symbols, nSymbols)
		o.ObserveInt64(slow, s.Slow.Load())
		o.ObserveInt64(waiting, nWaiting)
		return nil
	}, all...)
	return &metrics{registration: r}, err
}
