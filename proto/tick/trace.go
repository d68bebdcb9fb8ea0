package tick

import (
	"fmt"

	"github.com/tickfan/tickfan/proto/wire"
)

// traceAt is where a traced tick has its trace: the element after the last decimal, whichever of those are given.
const traceAt = tickHead + Decimals

// WithTrace gives a copy of a tick's payload that names the trace it belongs to, in place of the one that it named, if
// any. traceparent is as W3C Trace Context has it, e.g. "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".
//
// A traced tick travels in batches alone; on ticks.<symbol> its trace is in the message's header. Decode ignores it.
func WithTrace(payload []byte, traceparent string) ([]byte, error) {
	r := wire.NewReader(payload)
	n := r.Kind(wire.KindTick, tickHead+1) + tickHead + 1
	kind := r.Pos()
	r.SkipN(min(n, traceAt) - 1)
	end := r.Pos()
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("trace tick: %w", err)
	}
	b := wire.AppendArray(make([]byte, 0, len(payload)+Decimals+len(traceparent)+4), traceAt+1)
	b = wire.AppendUint(b, uint64(wire.KindTick))
	b = append(b, payload[kind:end]...)
	for ; n < traceAt; n++ {
		b = wire.AppendNil(b)
	}
	return wire.AppendStr(b, traceparent), nil
}

// TraceOf gives the trace that a tick's payload names, and nil where it names none. It points into the payload.
func TraceOf(payload []byte) []byte {
	// More elements than a fixarray has begin with 0xdc and their number, in two bytes: nearly all ticks stop here.
	if len(payload) < 3 || payload[0] != 0xdc || payload[1] == 0 && payload[2] <= traceAt {
		return nil
	}
	r := wire.NewReader(payload)
	r.Kind(wire.KindTick, traceAt+1)
	r.SkipN(traceAt - 1)
	trace := r.Str()
	if r.Err() != nil {
		return nil
	}
	return trace
}
