package bucket

import (
	"context"
	"errors"
	"math"
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
	// traceLinks is how many of its batch's traces, of those before it, a tick's names: where all are traced a batch has
	// hundreds.
	traceLinks = 16
)

var (
	errUnserved   = errors.New("no router serves all of it yet")
	errUnanswered = errors.New("not answered in time; sent again with the next change")
	errStopped    = errors.New("the bucket stops")
)

// traced is a tick on its way to the bucket's subscribers. Its span ends when it was written to all of them, or when the
// symbol's next tick takes its place in what is left, or after traceFor. It counts who subscribes meanwhile and has it
// written, and not who goes before it was.
type traced struct {
	t           *topic
	at          tick.Position
	stamped     int64 // microseconds since 1970, ingest's clock
	began       int64 // monotonic
	span        trace.Span
	subscribers int
	written     int
}

// follow begins the span of a tick that came with the trace parent, is its symbol's newest now, and has been marked.
func (b *Bucket) follow(t *topic, tk *tick.Tick, parent []byte, now int64) {
	ctx := telemetry.WithParent(context.Background(), string(parent))
	if age := time.Since(time.UnixMicro(tk.At)); age > traceYoung || len(t.subs) == 0 || !telemetry.Sampled(ctx) {
		return
	}
	m := &b.feed.decoded
	fanout := subject.Fanout(b.o.Region, b.o.ID)
	_, span := b.o.Tracer.Process(ctx, "fanout.{region}.{bucket}", fanout,
		attribute.String("tickfan.region", string(b.o.Region)), attribute.String("tickfan.bucket", string(b.o.ID)),
		attribute.String("tickfan.symbol", string(t.symbol)), attribute.Int64("tickfan.epoch", int64(tk.Epoch)), attribute.Int64("tickfan.seq", int64(tk.Seq)),
		attribute.String("tickfan.router", m.Router), attribute.Int("messaging.batch.message_count", len(m.Items)))
	for _, other := range b.traces[max(0, len(b.traces)-traceLinks):] { // a batch joins ticks: their traces name each other
		if other.began == now {
			other.span.AddLink(trace.Link{SpanContext: span.SpanContext()})
			span.AddLink(trace.Link{SpanContext: other.span.SpanContext()})
		}
	}
	t.traced = &traced{t: t, at: tk.Position, stamped: tk.At, began: now, span: span, subscribers: len(t.subs)}
	b.traces = append(b.traces, t.traced)
}

// lacked tells whether u, the subscription i of its session, has not been written the topic's traced tick yet.
func (u *sub) lacked(i uint32) bool {
	switch {
	case u.t.traced == nil:
		return false
	case u.every != nil:
		return u.t.traced.at.After(u.every.at)
	}
	return u.clock.has(i)
}

// count takes n more subscribers into account, written of whom have been written to.
func (b *Bucket) count(tr *traced, n, written int) {
	tr.subscribers += n
	if tr.written += written; tr.written >= tr.subscribers {
		b.followed(tr, false)
	}
}

// trace counts what of a flush was written of traced ticks: what is dirty again was not. Where all was, each of mode latest
// was written once; looking at its subscription again, which the write drove out of the caches, would cost 3 % of a write.
func (b *Bucket) trace(s *Session, sent int) {
	if f := &b.flush; sent == len(f.Ends) && !f.every {
		for _, tr := range f.traced {
			b.count(tr, 0, 1)
		}
		return
	}
	parts := b.flush.parts
	for k, p := range parts {
		if p.head || k+1 < len(parts) && parts[k+1].i == p.i { // mode every has a part for each tick: the last one counts
			continue
		}
		u := &s.subs[p.i]
		if tr := u.t.traced; tr != nil && !u.clock.has(p.i) && (u.every == nil || u.every.at == tr.at) {
			b.count(tr, 0, 1)
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

// endSubscribe ends the span of a subscribe, if it has one; err: it was not answered, or not with all.
func (p *pending) endSubscribe(err error) {
	if p.span == nil {
		return
	}
	if err != nil {
		telemetry.Fail(p.span, err)
	}
	p.span.End()
}

// traceChange begins the span of a change of interest: below the first traced subscribe that waits for it, linked to the
// others.
func (b *Bucket) traceChange(c *change) {
	if b.o.Tracer == nil {
		return
	}
	for _, p := range b.pending {
		switch {
		case p.span == nil || !slices.ContainsFunc(p.topics, func(t *topic) bool { return slices.Contains(c.parts, t.part) && !b.served(t, p.req.Mode) }):
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

// endChange ends the span of a change, if it has one and was not answered; then it has ended.
func (c *change) endChange(err error) {
	if c.span != nil && !c.answered {
		telemetry.Fail(c.span, err)
		c.span.End()
	}
}

// followed ends a span; next: the symbol's next tick has come, of which who takes every tick is written both.
func (b *Bucket) followed(tr *traced, next bool) {
	late := max(0, tr.subscribers-tr.written)
	conflated := 0
	if next {
		conflated = late
		for _, r := range tr.t.subs {
			if r.every && r.clock.s.subs[r.i].lacked(r.i) {
				conflated--
			}
		}
		conflated = max(0, conflated)
		late -= conflated
	}
	tr.span.SetAttributes(attribute.Int("tickfan.subscribers", tr.subscribers), attribute.Int("tickfan.written", tr.written),
		attribute.Int("tickfan.conflated", conflated), attribute.Int("tickfan.late", late),
		attribute.Int64("tickfan.age_us", time.Now().UnixMicro()-tr.stamped))
	tr.span.End()
	tr.t.traced = nil // sweepTraces takes it off the list
}

// sweepTraces ends the spans of those who have been followed long enough.
func (b *Bucket) sweepTraces(now int64) {
	b.traces = slices.DeleteFunc(b.traces, func(tr *traced) bool {
		if tr.t.traced == tr && now-tr.began >= int64(traceFor) {
			b.followed(tr, false)
		}
		return tr.t.traced != tr
	})
}

// stopTraces ends all spans.
func (b *Bucket) stopTraces() {
	b.sweepTraces(math.MaxInt64)
	for _, p := range b.pending {
		p.endSubscribe(errStopped)
	}
	if c := b.interest.change; c != nil {
		c.endChange(errStopped)
	}
}
