package telemetry_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/libs/telemetry"
)

// slow is a collector that takes nothing until it is let.
type slow struct {
	asked chan int // spans of each call
	let   chan error
}

func (s slow) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	s.asked <- len(spans)
	return <-s.let
}

func (slow) Shutdown(context.Context) error { return nil }

// Spans that a slow collector leaves no room for are counted and told, in one line; so are those that it does not take.
func TestDroppedSpansAreCounted(t *testing.T) {
	t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "10")
	t.Setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
	var log bytes.Buffer // written by who ends a span, which is this goroutine, until errors come from the queue's
	telemetry.LogErrors(slog.New(slog.NewTextHandler(&log, nil)))
	defer telemetry.LogErrors(slog.New(slog.DiscardHandler))
	tel, err := telemetry.New("test")
	if err != nil {
		t.Fatal(err)
	}
	defer tel.Close(context.Background())
	dropped := func(reason, n string) bool {
		w := httptest.NewRecorder()
		tel.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		for line := range strings.Lines(w.Body.String()) {
			if strings.HasPrefix(line, "tickfan_traces_dropped_total{") && strings.Contains(line, `reason="`+reason+`"`) {
				return strings.HasSuffix(strings.TrimSpace(line), " "+n)
			}
		}
		return false
	}
	collector := slow{make(chan int), make(chan error)}
	q, err := telemetry.NewQueue(collector, tel.Meter("tickfan/test"))
	if err != nil {
		t.Fatal(err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(q), sdktrace.WithSampler(sdktrace.AlwaysSample()))
	end := func() { _, s := provider.Tracer("test").Start(context.Background(), "span"); s.End() }
	if !dropped("full", "0") || !dropped("failed", "0") {
		t.Error("not 0 at first")
	}
	end()
	<-collector.asked // it hangs in this one
	for range 15 {
		end()
	}
	if !dropped("full", "5") {
		t.Error("of 15 spans and room for 10, 5 are not counted as dropped")
	}
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "level=WARN") || !strings.Contains(got, "spans dropped") {
		t.Errorf("not one line of log:\n%s", got)
	}
	telemetry.LogErrors(slog.New(slog.DiscardHandler))
	collector.let <- nil
	for range 10 { // none of them is lost within
		<-collector.asked
		collector.let <- errors.New("full, too")
	}
	natstest.Eventually(t, 5*time.Second, func() bool { return dropped("failed", "10") && dropped("full", "5") }, "10 that the collector did not take")
	if err := provider.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestSampler(t *testing.T) {
	for _, x := range []struct{ sampler, arg, want string }{
		{"", "", ""},
		{"", "junk", ""}, // nobody reads it
		{"always_on", "", ""},
		{" Always_Off ", "", ""},
		{"traceidratio", "", ""},
		{"parentbased_traceidratio", "0.25", ""},
		{"parentbased_always_on", "x", ""},
		{"allways_on", "", `OTEL_TRACES_SAMPLER "allways_on": one of always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off, parentbased_traceidratio; or leave it out, and traces are begun at so many a second at most`},
		{"jaeger_remote", "", "OTEL_TRACES_SAMPLER"},
		{"traceidratio", "10%", `OTEL_TRACES_SAMPLER_ARG "10%": the share of traces that traceidratio takes, 0 to 1, e.g. 0.01`},
		{"traceidratio", "1.1", "OTEL_TRACES_SAMPLER_ARG"},
		{"parentbased_traceidratio", "-1", "OTEL_TRACES_SAMPLER_ARG"},
	} {
		err := telemetry.CheckSampler(x.sampler, x.arg)
		if got := fmtError(err); got != x.want && (x.want == "" || !strings.HasPrefix(got, x.want+" ")) {
			t.Errorf("%q, %q: %q, want %q", x.sampler, x.arg, got, x.want)
		}
	}
}

func fmtError(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
