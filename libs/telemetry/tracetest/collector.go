package tracetest

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
)

// Collector keeps the spans that it is sent.
type Collector struct {
	collectorv1.UnimplementedTraceServiceServer
	address string

	mu    sync.Mutex
	spans []Span
}

// Span is what a test may want to know of one.
type Span struct {
	Trace, ID, Parent string // hexadecimal; Parent is empty for a root
	Service, Name     string
	Kind              tracev1.Span_SpanKind
	Attributes        map[string]string
	Links             []string // the spans that it names besides
	Error             string   // the status, when it is an error
	Start, End        uint64   // nanoseconds since 1970
}

// Start has a collector listen on this machine; it ends with the test.
func Start(t testing.TB) *Collector {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &Collector{address: ln.Addr().String()}
	s := grpc.NewServer()
	collectorv1.RegisterTraceServiceServer(s, c)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ln) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-ended; err != nil && !errors.Is(err, grpc.ErrServerStopped) { // it may not have begun
			t.Errorf("collector: %v", err)
		}
	})
	return c
}

// Env is the environment that has a process send its traces here, soon after they end.
func (c *Collector) Env() []string {
	return []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + c.address, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "OTEL_BSP_SCHEDULE_DELAY=20"}
}

// Export is called by those who send.
func (c *Collector) Export(_ context.Context, r *collectorv1.ExportTraceServiceRequest) (*collectorv1.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, of := range r.ResourceSpans {
		service := attributes(of.Resource.GetAttributes())["service.name"]
		for _, scope := range of.ScopeSpans {
			for _, s := range scope.Spans {
				span := Span{Trace: hex.EncodeToString(s.TraceId), ID: hex.EncodeToString(s.SpanId), Parent: hex.EncodeToString(s.ParentSpanId),
					Service: service, Name: s.Name, Kind: s.Kind, Attributes: attributes(s.Attributes), Start: s.StartTimeUnixNano, End: s.EndTimeUnixNano}
				for _, l := range s.Links {
					span.Links = append(span.Links, hex.EncodeToString(l.SpanId))
				}
				if s.Status.GetCode() == tracev1.Status_STATUS_CODE_ERROR {
					span.Error = s.Status.Message
				}
				c.spans = append(c.spans, span)
			}
		}
	}
	return &collectorv1.ExportTraceServiceResponse{}, nil
}

func attributes(all []*commonv1.KeyValue) map[string]string {
	m := map[string]string{}
	for _, kv := range all {
		switch v := kv.Value.GetValue().(type) {
		case *commonv1.AnyValue_StringValue:
			m[kv.Key] = v.StringValue
		case *commonv1.AnyValue_IntValue:
			m[kv.Key] = fmt.Sprint(v.IntValue)
		case *commonv1.AnyValue_BoolValue:
			m[kv.Key] = fmt.Sprint(v.BoolValue)
		default:
			m[kv.Key] = kv.Value.String()
		}
	}
	return m
}

// Spans are those that have come, in no order.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.spans)
}

// Trace is the spans of one trace.
func (c *Collector) Trace(id string) []Span {
	return slices.DeleteFunc(c.Spans(), func(s Span) bool { return s.Trace != id })
}

// Tree draws a trace, a line a span: its service and its name, indented below its parent, children by their names. Spans
// whose parent has not come are roots.
func Tree(spans []Span) string {
	known := map[string]bool{}
	for _, s := range spans {
		known[s.ID] = true
	}
	var b strings.Builder
	var draw func(parent, indent string)
	draw = func(parent, indent string) {
		below := slices.DeleteFunc(slices.Clone(spans), func(s Span) bool {
			return s.Parent != parent && (parent != "" || known[s.Parent])
		})
		slices.SortFunc(below, func(a, b Span) int {
			return strings.Compare(a.Name+" "+a.Service, b.Name+" "+b.Service)
		})
		for _, s := range below {
			fmt.Fprintf(&b, "%s%s: %s\n", indent, s.Service, s.Name)
			draw(s.ID, indent+"  ")
		}
	}
	draw("", "")
	return b.String()
}
