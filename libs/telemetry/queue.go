package telemetry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// errFull is what a span is dropped for; LogErrors tells it.
var errFull = errors.New("the queue of spans is full (OTEL_BSP_MAX_QUEUE_SIZE)")

// queue counts what is lost between a span's end and its collector. OpenTelemetry's own queue drops without a word, so it
// is never let become full.
//
//	ended --> queue: room? --> batches (OpenTelemetry's) --> out --> exporter
//	            | no                                          | fails
//	            +-----------> tickfan.traces.dropped <--------+
type queue struct {
	sdktrace.SpanProcessor // the batches

	size    int64
	waiting atomic.Int64 // ended, and not handed to the exporter yet

	dropped metric.Int64Counter
	full    metric.MeasurementOption
}

func newQueue(exporter sdktrace.SpanExporter, meter metric.Meter) (*queue, error) {
	dropped, err := meter.Int64Counter("tickfan.traces.dropped",
		metric.WithDescription("Spans that did not reach their collector, by reason: the queue was full, or the collector did not take them."))
	if err != nil {
		return nil, fmt.Errorf("make tickfan.traces.dropped: %w", err)
	}
	reason := func(r string) metric.MeasurementOption {
		o := metric.WithAttributeSet(attribute.NewSet(attribute.String("reason", r)))
		dropped.Add(context.Background(), 0, o) // so that a rate over the first one is seen
		return o
	}
	q := &queue{size: queueSize(), dropped: dropped, full: reason("full")}
	q.SpanProcessor = sdktrace.NewBatchSpanProcessor(&out{exporter, q, reason("failed")}, sdktrace.WithMaxQueueSize(int(q.size)))
	return q, nil
}

// queueSize is how many spans may wait.
func queueSize() int64 {
	if n, err := strconv.Atoi(os.Getenv("OTEL_BSP_MAX_QUEUE_SIZE")); err == nil && n > 0 {
		return int64(n)
	}
	return sdktrace.DefaultMaxQueueSize
}

// OnEnd takes a span that has ended.
func (q *queue) OnEnd(s sdktrace.ReadOnlySpan) {
	if !s.SpanContext().IsSampled() {
		return
	}
	if q.waiting.Add(1) > q.size {
		q.waiting.Add(-1)
		q.dropped.Add(context.Background(), 1, q.full)
		otel.Handle(errFull)
		return
	}
	q.SpanProcessor.OnEnd(s)
}

// out is the exporter, with what leaves the queue and what is lost behind it counted.
type out struct {
	sdktrace.SpanExporter
	q      *queue
	failed metric.MeasurementOption
}

func (o *out) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	o.q.waiting.Add(-int64(len(spans)))
	err := o.SpanExporter.ExportSpans(ctx, spans)
	if err != nil {
		o.q.dropped.Add(context.Background(), int64(len(spans)), o.failed)
	}
	return err
}
