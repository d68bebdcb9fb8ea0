package telemetry_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/libs/telemetry"
	"github.com/tickfan/tickfan/libs/telemetry/tracetest"
	"github.com/tickfan/tickfan/proto/code"
)

func newTracer(t *testing.T, env ...string) (*telemetry.Telemetry, *telemetry.Tracer) {
	t.Helper()
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		t.Setenv(name, value)
	}
	tel, err := telemetry.New("test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tel.Close(context.Background()) }) // for some tests the second time
	tr, err := tel.Tracer(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	return tel, tr
}

// A trace goes from one process to another, and to the collector.
func TestTrace(t *testing.T) {
	c := tracetest.Start(t)
	tel, tr := newTracer(t, c.Env()...)
	ctx, root := tr.Process(context.Background(), "ingest.{symbol}", "ingest.BTC-USD")
	ctx, send := tr.Send(ctx, "ticks.{symbol}", "ticks.BTC-USD")
	headers := telemetry.Inject(ctx)
	send.End()
	telemetry.Fail(root, code.Errorf(code.BadPrice, "no such price"))
	root.End()
	_, there := tr.Process(telemetry.Extract(context.Background(), headers), "ticks.{symbol}", "ticks.BTC-USD")
	there.End()
	if err := tel.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, 5*time.Second, func() bool { return len(c.Spans()) == 3 }, "three spans")
	want := "tickfan-test: process ingest.{symbol}\n  tickfan-test: send ticks.{symbol}\n    tickfan-test: process ticks.{symbol}\n"
	if got := tracetest.Tree(c.Trace(root.SpanContext().TraceID().String())); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	for _, s := range c.Spans() {
		if s.Attributes["messaging.system"] != "nats" || !strings.HasSuffix(s.Attributes["messaging.destination.name"], ".BTC-USD") {
			t.Errorf("%+v", s)
		}
		failed := s.Error == "bad_price: no such price" && s.Attributes["error.type"] == "bad_price"
		if failed != (s.ID == root.SpanContext().SpanID().String()) || !failed && s.Error != "" {
			t.Errorf("%s has the error %q of type %q", s.Name, s.Error, s.Attributes["error.type"])
		}
	}
}

// A service takes its caps, unless a sampler was asked for.
func TestCap(t *testing.T) {
	c := tracetest.Start(t)
	_, tr := newTracer(t, c.Env()...)
	allowed := func(c *telemetry.Cap) (n int) {
		for range 1000 {
			if c.Allow() {
				n++
			}
		}
		return n
	}
	if n := allowed(tr.Cap(20)); n < 20 || n > 40 { // a second may pass meanwhile
		t.Errorf("%d of 1,000 are traced at once, want 20", n)
	}
	t.Setenv("OTEL_TRACES_SAMPLER", "always_on")
	_, tr = newTracer(t)
	if n := allowed(tr.Cap(20)); n != 1000 {
		t.Errorf("%d of 1,000 reach the sampler", n)
	}
}

// A misspelt sampler would trace everything.
func TestMisspeltSampler(t *testing.T) {
	t.Setenv("OTEL_TRACES_SAMPLER", "parentbased_always_no")
	for endpoint, fails := range map[string]bool{"http://127.0.0.1:4317": true, "": false} { // without traces it is nobody's
		t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
		tel, err := telemetry.New("test")
		if err != nil {
			t.Fatal(err)
		}
		_, err = tel.Tracer(t.Context(), "test")
		if (err != nil) != fails || fails && !strings.Contains(err.Error(), "one of always_on, always_off, ") {
			t.Errorf("endpoint %q: %v", endpoint, err)
		}
		_ = tel.Close(t.Context())
	}
}

// Where nobody collects, nothing is traced and nothing is asked for.
func TestNoTracer(t *testing.T) {
	for _, env := range []string{"OTEL_TRACES_EXPORTER=none", "OTEL_SDK_DISABLED=true", "OTEL_TRACES_EXPORTER="} {
		t.Run(env, func(t *testing.T) {
			if _, tr := newTracer(t, "OTEL_EXPORTER_OTLP_ENDPOINT=", env); tr != nil {
				t.Error("there is a tracer")
			}
		})
	}
	var tr *telemetry.Tracer
	if tr.Cap(10).Allow() {
		t.Error("a cap of none allows")
	}
	ctx, s := tr.Process(context.Background(), "a", "b")
	if s.IsRecording() || telemetry.Inject(ctx) != nil || telemetry.Sampled(ctx) {
		t.Error("it traces")
	}
	s.End()
}

// A caller that does not sample is known as one.
func TestUnsampledParent(t *testing.T) {
	ctx := telemetry.WithParent(context.Background(), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")
	if telemetry.Sampled(ctx) || telemetry.Parent(ctx) != "" {
		t.Error("it is sampled")
	}
	ctx = telemetry.WithParent(context.Background(), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	if got := telemetry.Parent(ctx); got != "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" {
		t.Errorf("parent %q", got)
	}
}

func BenchmarkNoTracer(b *testing.B) {
	var tr *telemetry.Tracer
	c := tr.Cap(20)
	for b.Loop() {
		if c.Allow() {
			b.Fatal("allowed")
		}
	}
}
