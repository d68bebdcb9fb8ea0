package bucket

import (
	"context"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/tickfan/tickfan/libs/bus"
	"github.com/tickfan/tickfan/libs/telemetry"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

const (
	// traceFor is how long a traced tick is followed: who has not been written to by then is slow.
	traceFor = time.Second
	// traceYoung is how old a tick may be to be traced: one that a bucket is newly served may be of any age.
	traceYoung = 10 * time.Second
)

// traced is a tick on its way to the bucket's subscribers. Its span ends when it was written to all of them, or when the
// symbol's next tick takes its place in what is left, or after traceFor.
type traced struct {
	t           *topic
	at          tick.Position
	stamped     int64 // microseconds since 1970, ingest's clock
	began       int64 // monotonic
	span        trace.Span
	subscribers int
	written     int
}

// follow begins the span of a tick that came with the trace parent in batch m and has been marked.
func (b *Bucket) follow(t *topic, tk *tick.Tick, parent []byte, now int64) {
	if age := time.Since(time.UnixMicro(tk.At)); age > traceYoung || len(t.subs) == 0 || t.newest.Position != tk.Position {
		return
	}
	m := &b.feed.decoded
	fanout := subject.Fanout(b.o.Region, b.o.ID)
	_, span := b.o.Tracer.Process(telemetry.WithParent(context.Background(), string(parent)), "fanout.{region}.{bucket}", fanout,
		attribute.String("tickfan.region", string(b.o.Region)), attribute.String("tickfan.bucket", string(b.o.ID)),
		attribute.String("tickfan.symbol", string(t.symbol)), attribute.Int64("tickfan.epoch", int64(tk.Epoch)), attribute.Int64("tickfan.seq", int64(tk.Seq)),
		attribute.String("tickfan.router", m.Router), attribute.Int("messaging.batch.message_count", len(m.Items)))
	for _, other := range b.traces { // a batch joins ticks: their traces name each other
		if other.began == now {
			other.span.AddLink(trace.Link{SpanContext: span.SpanContext()})
			span.AddLink(trace.Link{SpanContext: other.span.SpanContext()})
		}
	}
	t.traced = &traced{t: t, at: tk.Position, stamped: tk.At, began: now, span: span, subscribers: len(t.subs)}
	b.traces = append(b.traces, t.traced)
}

// wrote counts a subscriber who was written to.
func (b *Bucket) wrote(tr *traced) {
	if tr.written++; tr.written >= tr.subscribers {
		b.followed(tr, false)
	}
}

// trace counts what of a flush was written of traced ticks: what is dirty again was not.
func (b *Bucket) trace(s *Session) {
	parts := b.flush.parts
	for k, p := range parts {
		if p.head || k+1 < len(parts) && parts[k+1].i == p.i { // mode every has a part for each tick: the last one counts
			continue
		}
		u := &s.subs[p.i]
		if tr := u.t.traced; tr != nil && !u.clock.has(p.i) && (u.every == nil || u.every.at == tr.at) {
			b.wrote(tr)
		}
	}
}

// traceSubscribe begins the span of a subscribe that has to wait: for the registry, and for a router to serve it.
func (b *Bucket) traceSubscribe(p *pending) {
	if !b.o.Traces.Allow() {
		return
	}
	_, p.span = b.o.Tracer.Start(context.Background(), "subscribe", trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("tickfan.region", string(b.o.Region)), attribute.String("tickfan.bucket", string(b.o.ID)),
		attribute.Int("tickfan.symbols", len(p.req.Symbols)), attribute.String("tickfan.symbol", string(p.req.Symbols[0])),
		attribute.Bool("tickfan.every", p.req.Mode == session.Every)))
}

// traceChange begins the span of a change of interest: below the first traced subscribe that waits for it, linked to the
// others.
func (b *Bucket) traceChange(c *change) {
	for _, p := range b.pending {
		switch {
		case p.span == nil:
		case c.span == nil:
			subj := subject.Registry(b.o.Region, subject.EndpointInterest)
			ctx, span := b.o.Tracer.Send(trace.ContextWithSpan(context.Background(), p.span), "registry.{region}.interest", subj,
				attribute.String("tickfan.bucket", string(b.o.ID)), attribute.Int64("tickfan.number", int64(c.number)), attribute.Int("tickfan.parts", len(c.parts)))
			c.span, c.header = span, bus.TraceHeader(ctx)
		default:
			c.span.AddLink(trace.Link{SpanContext: p.span.SpanContext()})
		}
	}
}

// followed ends a span; next: the symbol's next tick has come.
func (b *Bucket) followed(tr *traced, next bool) {
	left := max(0, tr.subscribers-tr.written)
	conflated, late := 0, left
	if next {
		conflated, late = left, 0
	}
	tr.span.SetAttributes(attribute.Int("tickfan.subscribers", tr.subscribers), attribute.Int("tickfan.written", tr.written),
		attribute.Int("tickfan.conflated", conflated), attribute.Int("tickfan.late", late),
		attribute.Int64("tickfan.age_us", time.Now().UnixMicro()-tr.stamped))
	tr.span.End()
	tr.t.traced = nil
	b.traces = slices.DeleteFunc(b.traces, func(other *traced) bool { return other == tr })
}

// sweepTraces ends the spans of those who have been followed long enough.
func (b *Bucket) sweepTraces(now int64) {
	for _, tr := range slices.Clone(b.traces) {
		if now-tr.began >= int64(traceFor) {
			b.followed(tr, false)
		}
	}
}
