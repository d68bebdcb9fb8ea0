package bus

import (
	"context"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/tickfan/tickfan/libs/telemetry"
)

func TestTraceHeader(t *testing.T) {
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	ctx := TraceContext(context.Background(), nats.Header{"Traceparent": {parent}, "Tracestate": {"a=b"}, "Other": {"x"}})
	if got := telemetry.Parent(ctx); got != parent {
		t.Errorf("parent %q", got)
	}
	h := TraceHeader(ctx)
	if h.Get("traceparent") != parent || h.Get("tracestate") != "a=b" || len(h) != 2 {
		t.Errorf("headers %v", h)
	}
	h = nats.Header{"traceparent": {parent}, "tracestate": {"a=" + strings.Repeat("b", 200) + ",c=" + strings.Repeat("d", 200) + ",e=" + strings.Repeat("f", 200)}}
	if h := TraceHeader(TraceContext(context.Background(), h)); h.Get("traceparent") != parent || len(h) != 1 {
		t.Errorf("of a long state: %v", h)
	}
	for _, h := range []nats.Header{nil, {"traceparent": {"junk"}}, {"traceparent": nil}} {
		if ctx := TraceContext(context.Background(), h); telemetry.Sampled(ctx) || TraceHeader(ctx) != nil {
			t.Errorf("%v is a trace", h)
		}
	}
}
