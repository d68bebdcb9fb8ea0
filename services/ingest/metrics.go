package ingest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tickfan/tickfan/libs/telemetry"
	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/services/ingest/internal/lease"
	"github.com/tickfan/tickfan/services/ingest/internal/refusal"
	"github.com/tickfan/tickfan/services/ingest/internal/source/coinbase"
	"github.com/tickfan/tickfan/services/ingest/internal/stamp"
	"github.com/tickfan/tickfan/services/ingest/internal/stored"
)

// counts are ticks stamped, by where they came from, and prices that were not.
type counts struct {
	ingest, generator, coinbase atomic.Int64
	skipped                     atomic.Int64
	again                       atomic.Int64 // of the leader before
	takeovers                   atomic.Int64 // epochs begun
}

// measured is what the metrics read.
type measured struct {
	has      func(source string) bool // it is switched on
	counts   *counts
	stamper  *stamp.Stamper
	lease    *lease.Lease
	stored   *stored.Follower
	refused  *refusal.Log
	coinbase *coinbase.Stats
}

// register makes the instruments read m at each scrape, until the returned function is called.
func (m measured) register(meter metric.Meter) (stop func() error, err error) {
	var faults []error
	counter := func(name, help string) metric.Int64ObservableCounter {
		c, err := meter.Int64ObservableCounter(name, metric.WithDescription(help))
		faults = append(faults, err)
		return c
	}
	gauge := func(name, help string) metric.Int64ObservableGauge {
		g, err := meter.Int64ObservableGauge(name, metric.WithDescription(help))
		faults = append(faults, err)
		return g
	}
	ticks := counter("tickfan.ingest.ticks", "Ticks stamped and published, by source.")
	refused := counter("tickfan.ingest.refused", "Prices refused, by code.")
	skipped := counter("tickfan.ingest.skipped", "Prices that came while this instance did not stamp; the one that did has them.")
	epoch := gauge("tickfan.ingest.epoch", "The epoch that this instance stamps in; 0 while it does not.")
	takeovers := counter("tickfan.ingest.takeovers", "Epochs that this instance began: it took the lease over, or got it again.")
	symbols := gauge("tickfan.ingest.symbols", "Distinct symbols known.")
	again := counter("tickfan.ingest.published_again", "Newest ticks that did not come to stand in TICKS and were published again; zero in peace.")
	unanswered := counter("tickfan.ingest.lease.unanswered", "Refreshes of the lease that JetStream did not answer.")
	lost := counter("tickfan.ingest.lease.lost", "Times that another instance took over.")
	frames := counter("tickfan.ingest.coinbase.frames", "Frames from Coinbase Exchange, by type.")
	connects := counter("tickfan.ingest.coinbase.connects", "Connections to Coinbase Exchange that stood.")
	failures := counter("tickfan.ingest.coinbase.failures", "Connections to Coinbase Exchange that failed or ended.")
	gaps := counter("tickfan.ingest.coinbase.gaps", "Times that trades of a product were missing.")
	missing := counter("tickfan.ingest.coinbase.lost_trades", "Trades that were missing.")
	repeated := counter("tickfan.ingest.coinbase.repeated", "Ticker frames of a trade seen before, not stamped again.")
	fields := counter("tickfan.ingest.coinbase.dropped_fields", "Fields that did not fit and were left out of a tick.")
	age, err := telemetry.NewAge(meter, "tickfan.ingest.coinbase.age", "Age of Coinbase Exchange's prices when they are stamped, by its clock.")
	faults = append(faults, err)
	m.coinbase.Age = age
	products := counter("tickfan.ingest.coinbase.unsubscribed", "Products that the exchange refused or did not acknowledge.")
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("make instruments: %w", err)
	}

	label := func(k, v string) metric.MeasurementOption {
		return metric.WithAttributeSet(attribute.NewSet(attribute.String(k, v)))
	}
	fromIngest, fromGenerator, fromCoinbase := label("source", "ingest"), label("source", SourceGenerator), label("source", SourceCoinbase)
	cb := m.coinbase
	types := []struct {
		label metric.MeasurementOption
		count *atomic.Int64
	}{
		{label("type", "ticker"), &cb.Tickers}, {label("type", "heartbeat"), &cb.Heartbeats},
		{label("type", "subscriptions"), &cb.Subscriptions}, {label("type", "error"), &cb.Errors},
		{label("type", "unknown"), &cb.Unknown}, {label("type", "bad"), &cb.Bad},
	}
	r, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(ticks, m.counts.ingest.Load(), fromIngest)
		if m.has(SourceGenerator) {
			o.ObserveInt64(ticks, m.counts.generator.Load(), fromGenerator)
		}
		if m.has(SourceCoinbase) { // else it would look like one that brings nothing
			o.ObserveInt64(ticks, m.counts.coinbase.Load(), fromCoinbase)
		}
		m.refused.Counts(func(c code.Code, n int64) { o.ObserveInt64(refused, n, label("code", string(c))) })
		o.ObserveInt64(skipped, m.counts.skipped.Load())
		o.ObserveInt64(epoch, int64(m.stamper.Epoch()))
		o.ObserveInt64(takeovers, m.counts.takeovers.Load())
		o.ObserveInt64(symbols, m.stamper.Symbols())
		o.ObserveInt64(again, m.stored.Again()+m.counts.again.Load())
		o.ObserveInt64(unanswered, m.lease.Unanswered())
		o.ObserveInt64(lost, m.lease.Lost())
		for _, t := range types {
			o.ObserveInt64(frames, t.count.Load(), t.label)
		}
		o.ObserveInt64(connects, cb.Connects.Load())
		o.ObserveInt64(failures, cb.Failures.Load())
		o.ObserveInt64(gaps, cb.Gaps.Load())
		o.ObserveInt64(missing, cb.Lost.Load())
		o.ObserveInt64(repeated, cb.Repeated.Load())
		o.ObserveInt64(fields, cb.Fields.Load())
		o.ObserveInt64(products, cb.Refused.Load()+cb.Unacked.Load())
		return nil
	}, ticks, refused, skipped, again, epoch, takeovers, symbols, unanswered, lost, frames, connects, failures, gaps, missing, repeated, fields, products)
	if err != nil {
		return nil, fmt.Errorf("register instruments: %w", err)
	}
	return r.Unregister, nil
}
