package bus

import (
	"context"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/tickfan/tickfan/libs/telemetry"
)

// TraceHeader carries ctx's trace in a message (W3C Trace Context); nil when nobody collects it, as of nearly all.
func TraceHeader(ctx context.Context) nats.Header {
	fields := telemetry.Inject(ctx)
	if fields == nil {
		return nil
	}
	h := nats.Header{}
	for name, value := range fields {
		h.Set(name, value)
	}
	return h
}

// TraceContext gives a context with the trace that a message carries, ctx itself where it carries none. Names of headers
// are taken in any case, for they are typed by hand (nats pub -H traceparent:…).
func TraceContext(ctx context.Context, h nats.Header) context.Context {
	fields := map[string]string{}
	for name, values := range h {
		name = strings.ToLower(name)
		if isTrace := name == "traceparent" || name == "tracestate"; isTrace && len(values) > 0 && len(values[0]) <= maxTrace {
			fields[name] = values[0]
		}
	}
	if len(fields) == 0 {
		return ctx
	}
	return telemetry.Extract(ctx, fields)
}

// maxTrace is how long a header may be to be taken, in bytes: so much W3C has everybody carry. What a stranger sends stands
// in TICKS with the tick.
const maxTrace = 512
