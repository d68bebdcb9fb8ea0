package route

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/attribute"

	"github.com/tickfan/tickfan/libs/bus"
	"github.com/tickfan/tickfan/libs/telemetry"
	"github.com/tickfan/tickfan/proto/tick"
)

var errOld = errors.New("not newer than the symbol's last tick")

// traced takes a message of ticks.> that carries a trace, which goes on beside the tick in the batches. The table keeps
// the tick without it: who asks for the newest later has nothing to do with this trace.
func (r *Router) traced(m *nats.Msg, now time.Time) {
	ctx := bus.TraceContext(context.Background(), m.Header)
	if !telemetry.Sampled(ctx) {
		r.Tick(m.Subject, m.Data, now)
		return
	}
	ctx, span := r.o.Tracer.Process(ctx, "ticks.{symbol}", m.Subject, attribute.String("tickfan.region", string(r.o.Region)))
	defer span.End()
	item, err := tick.WithTrace(m.Data, telemetry.Parent(ctx))
	if err != nil {
		item = m.Data // it cannot be read, which tick finds out
	}
	newest, buckets := r.tick(m.Subject, m.Data, item)
	switch {
	case err != nil:
		telemetry.Fail(span, err)
	case !newest:
		telemetry.Fail(span, errOld)
	}
	span.SetAttributes(attribute.Int("tickfan.buckets", buckets))
}

// tracedAnnouncement takes a message of interest.<region> that carries a trace.
func (r *Router) tracedAnnouncement(m *nats.Msg, now time.Time) {
	if ctx := bus.TraceContext(context.Background(), m.Header); telemetry.Sampled(ctx) {
		_, span := r.o.Tracer.Process(ctx, "interest.{region}", m.Subject, attribute.String("tickfan.region", string(r.o.Region)))
		defer span.End()
	}
	r.Announcement(m.Data, now)
}
