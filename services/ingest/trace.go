package ingest

import (
	"context"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/tickfan/tickfan/libs/bus"
	"github.com/tickfan/tickfan/libs/telemetry"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

// How many traces a second are begun, unless OTEL_TRACES_SAMPLER is set. Prices by ingest.> have a cap of their own: one
// published by hand must not find every place taken by a feed. So has each source: the generator never lets up, and Coinbase
// would be traced but by chance.
const (
	askedTraces = 20
	fedTraces   = 2
)

// traceIngest begins the trace of a price on ingest.>, or joins its caller's. A caller who does not sample his is heeded.
func (s *service) traceIngest(m *nats.Msg) (context.Context, trace.Span) {
	ctx := context.Background()
	if s.tracer == nil {
		return ctx, noop.Span{}
	}
	ctx = bus.TraceContext(ctx, m.Header)
	if parent := trace.SpanContextFromContext(ctx); parent.IsValid() && !parent.IsSampled() || !s.asked.Allow() {
		return context.Background(), noop.Span{}
	}
	return s.tracer.Process(ctx, "ingest.{symbol}", m.Subject)
}

// traceFeed begins the trace of a price that a source gave, where it is stamped. allowed is the source's cap.
func (s *service) traceFeed(allowed *telemetry.Cap, source string, sym subject.Symbol) (context.Context, trace.Span) {
	if allowed == nil || !s.active() || !allowed.Allow() {
		return context.Background(), noop.Span{}
	}
	return s.tracer.Start(context.Background(), "process "+source, trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithAttributes(attribute.String("tickfan.source", source), attribute.String("tickfan.symbol", string(sym))))
}

// stamp stamps a price, with its trace if it has one.
func (s *service) stamp(ctx context.Context, sym subject.Symbol, q tick.Quote) (tick.Position, error) {
	if !telemetry.Sampled(ctx) {
		return s.stamper.Stamp(sym, q, nil)
	}
	ctx, span := s.tracer.Send(ctx, "ticks.{symbol}", subject.Ticks(sym))
	defer span.End()
	p, err := s.stamper.Stamp(sym, q, bus.TraceHeader(ctx))
	if err != nil {
		telemetry.Fail(span, err)
		return p, err
	}
	span.SetAttributes(attribute.String("tickfan.symbol", string(sym)), attribute.Int64("tickfan.epoch", int64(p.Epoch)), attribute.Int64("tickfan.seq", int64(p.Seq)))
	return p, nil
}
