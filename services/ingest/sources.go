package ingest

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"github.com/tickfan/tickfan/libs/telemetry"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
	"github.com/tickfan/tickfan/services/ingest/internal/source/coinbase"
	"github.com/tickfan/tickfan/services/ingest/internal/source/generator"
	"github.com/tickfan/tickfan/services/ingest/internal/stamp"
)

// sources runs the configured ones, the generator from the first epoch on: its prices are worth nothing to a standby.
func (s *service) sources(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	if s.generator != nil {
		g.Go(func() error {
			select {
			case <-ctx.Done():
				return nil
			case <-s.first:
				return s.generator.Run(ctx, time.Now, s.fromGenerator)
			}
		})
	}
	if s.cfg.has(SourceCoinbase) {
		feed := coinbase.New(coinbase.Options{
			URL: s.cfg.CoinbaseURL, Products: s.cfg.products(), Refused: s.refused, Log: s.deps.Log, Now: time.Now,
			Stats: &s.coinbase, Stamp: s.fromCoinbase, Trace: func(sym subject.Symbol) (context.Context, trace.Span) {
				return s.traceFeed(s.exchanged, SourceCoinbase, sym)
			},
		})
		g.Go(func() error { return feed.Run(ctx) })
	}
	return g.Wait()
}

func (s *service) openGenerator() {
	seed := s.cfg.GeneratorSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	s.generator = generator.New(seed, time.Now())
	s.deps.Log.Info("generator opened", "seed", seed, "symbols", len(s.generator.Symbols()))
}

// fromIngest stamps a price that somebody published.
func (s *service) fromIngest(ctx context.Context, sym subject.Symbol, q tick.Quote) (pos tick.Position, err error) {
	s.held.Stamp(sym, func() { pos, err = s.stampIngest(ctx, sym, q) })
	return pos, err
}

func (s *service) stampIngest(ctx context.Context, sym subject.Symbol, q tick.Quote) (tick.Position, error) {
	s.quieten(sym, q)
	pos, err := s.stamp(ctx, sym, q)
	if err == nil {
		s.counts.ingest.Add(1)
	}
	return pos, err
}

// fromCoinbase stamps a price of the exchange's.
func (s *service) fromCoinbase(ctx context.Context, sym subject.Symbol, q tick.Quote) (err error) {
	if !s.active() {
		s.counts.skipped.Add(1)
		s.held.Hold(sym, q, time.Now(), func() bool {
			err := s.stampCoinbase(context.Background(), sym, q) // its trace has ended
			if errors.Is(err, stamp.ErrInactive) {
				return false
			}
			if err != nil {
				s.refused.Refuse("coinbase "+string(sym), err)
			}
			return true
		})
		return stamp.ErrInactive
	}
	s.held.Stamp(sym, func() { err = s.stampCoinbase(ctx, sym, q) })
	if errors.Is(err, stamp.ErrInactive) {
		s.counts.skipped.Add(1)
	}
	return err
}

func (s *service) stampCoinbase(ctx context.Context, sym subject.Symbol, q tick.Quote) error {
	s.quieten(sym, q)
	_, err := s.stamp(ctx, sym, q)
	if err == nil {
		s.counts.coinbase.Add(1)
		s.coinbase.Age.Since(q.TS)
	}
	return err
}

// fromGenerator stamps a made-up price.
func (s *service) fromGenerator(sym subject.Symbol, q tick.Quote) {
	ctx, span := s.traceFeed(s.generated, SourceGenerator, sym)
	defer span.End()
	_, err := s.stamp(ctx, sym, q)
	switch {
	case err == nil:
		s.counts.generator.Add(1)
	case errors.Is(err, stamp.ErrInactive):
		s.counts.skipped.Add(1)
	default:
		telemetry.Fail(span, err)
		s.refused.Refuse("generator "+string(sym), err)
	}
}

// quieten has the generator leave a symbol alone, before its price from outside is stamped: the other way round a
// made-up price could come last and stand.
func (s *service) quieten(sym subject.Symbol, q tick.Quote) {
	if s.generator != nil {
		s.generator.Outside(sym, q.Price, time.Now())
	}
}

func (s *service) register(meter metric.Meter) (stop func() error, err error) {
	return measured{
		has: s.cfg.has, counts: &s.counts, stamper: s.stamper, lease: s.lease, stored: s.stored, refused: s.refused, coinbase: &s.coinbase,
	}.register(meter)
}
