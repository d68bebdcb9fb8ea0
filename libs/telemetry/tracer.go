package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/tickfan/tickfan/libs/quiet"
	"github.com/tickfan/tickfan/proto/code"
	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"golang.org/x/time/rate"
)

// Tracer starts the spans of one service. A nil Tracer starts none: where nobody collects traces they cost a
// comparison. Its methods may be called from any goroutine.
type Tracer struct {
	tracer trace.Tracer
	capped bool // roots are rationed by Cap; else OTEL_TRACES_SAMPLER decides
}

// Traced tells whether the environment says where traces go: OTEL_TRACES_EXPORTER, or an OTLP endpoint.
func Traced() bool {
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
		return false
	}
	if e := os.Getenv("OTEL_TRACES_EXPORTER"); e != "" {
		return e != "none"
	}
	return os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
}

// Tracer returns the tracer of a service, named tickfan-<service> in its traces, or nil when nobody collects them. All is
// configured by the variables of OpenTelemetry (OTEL_…), of which one that cannot be understood is an error. Close of t
// sends what is left.
func (t *Telemetry) Tracer(ctx context.Context, service string) (*Tracer, error) {
	if !Traced() {
		return nil, nil
	}
	sampler := os.Getenv(samplerVar)
	if err := checkSampler(sampler, os.Getenv(samplerArgVar)); err != nil {
		return nil, err
	}
	exporter, err := autoexport.NewSpanExporter(ctx)
	if err != nil {
		return nil, fmt.Errorf("make exporter of traces, by OTEL_TRACES_EXPORTER %q (otlp, console or none) and OTEL_EXPORTER_OTLP_…: %w",
			os.Getenv("OTEL_TRACES_EXPORTER"), err)
	}
	who, err := resource.New(ctx,
		resource.WithTelemetrySDK(),
		resource.WithHost(),
		resource.WithAttributes(semconv.ServiceName("tickfan-"+service)),
		resource.WithFromEnv(), // last, so that it wins
	)
	if err != nil {
		return nil, fmt.Errorf("describe what makes traces: %w", err)
	}
	batches, err := newQueue(exporter, t.Meter("tickfan/"+service))
	if err != nil {
		return nil, err
	}
	options := []sdktrace.TracerProviderOption{sdktrace.WithSpanProcessor(batches), sdktrace.WithResource(who)}
	capped := sampler == ""
	if capped {
		options = append(options, sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.AlwaysSample())))
	}
	provider := sdktrace.NewTracerProvider(options...)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.traces = append(t.traces, provider)
	return &Tracer{tracer: provider.Tracer("github.com/tickfan/tickfan/services/" + service), capped: capped}, nil
}

// Cap rations the traces that a service begins, unless OTEL_TRACES_SAMPLER is set: then that decides. A nil Cap allows
// none.
type Cap struct{ limiter *rate.Limiter }

// Cap allows so many traces a second, and that many at once; nil for a nil Tracer.
func (t *Tracer) Cap(perSecond int) *Cap {
	switch {
	case t == nil:
		return nil
	case !t.capped:
		return &Cap{rate.NewLimiter(rate.Inf, 0)}
	}
	return &Cap{rate.NewLimiter(rate.Limit(perSecond), perSecond)}
}

// Allow takes one of what the cap allows, if there is one.
func (c *Cap) Allow() bool { return c != nil && c.limiter.Allow() }

// Send begins the span of a message that leaves, Process that of one that came. The names are those of the conventions
// for messaging: "<operation> <template>", template being the subject with its variable parts in braces.
func (t *Tracer) Send(ctx context.Context, template, subject string, more ...attribute.KeyValue) (context.Context, trace.Span) {
	return t.message(ctx, "send", trace.SpanKindProducer, semconv.MessagingOperationTypeSend, template, subject, more)
}

// Process begins the span of a message that came; see Send. Its parent is what ctx holds, e.g. by [Extract].
func (t *Tracer) Process(ctx context.Context, template, subject string, more ...attribute.KeyValue) (context.Context, trace.Span) {
	return t.message(ctx, "process", trace.SpanKindConsumer, semconv.MessagingOperationTypeProcess, template, subject, more)
}

func (t *Tracer) message(ctx context.Context, operation string, kind trace.SpanKind, class attribute.KeyValue, template, subject string, more []attribute.KeyValue) (context.Context, trace.Span) {
	if t == nil {
		return ctx, noop.Span{}
	}
	return t.tracer.Start(ctx, operation+" "+template, trace.WithSpanKind(kind), trace.WithAttributes(append(more,
		semconv.MessagingSystemKey.String("nats"), semconv.MessagingOperationName(operation), class,
		semconv.MessagingDestinationTemplate(template), semconv.MessagingDestinationName(subject))...))
}

// Start begins any other span.
func (t *Tracer) Start(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	if t == nil {
		return ctx, noop.Span{}
	}
	return t.tracer.Start(ctx, name, options...)
}

// LogErrors has what goes wrong in collecting traces logged, by the whole process: OpenTelemetry has one place for that.
// It is for main.
func LogErrors(log *slog.Logger) {
	lines := quiet.New(log, time.Minute)
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		if errors.Is(err, errFull) {
			lines.Warn("full", "spans dropped: there are more than their collector takes", "error", err)
			return
		}
		lines.Warn("traces", "traces do not reach their collector", "error", err)
	}))
}

// Fail marks a span as failed, by the code that the error has, or "internal".
func Fail(s trace.Span, err error) {
	s.RecordError(err)
	s.SetStatus(codes.Error, err.Error())
	s.SetAttributes(semconv.ErrorTypeKey.String(string(code.Of(err).Code)))
}

// Inject gives the headers that carry ctx's trace to the next process, none when it is not sampled.
func Inject(ctx context.Context) map[string]string {
	if !Sampled(ctx) {
		return nil
	}
	c := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, c)
	return c
}

// Extract gives a context with the trace that the headers name, ctx itself where they name none.
func Extract(ctx context.Context, headers map[string]string) context.Context {
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier(headers))
}

// Sampled tells whether ctx has a trace that somebody collects.
func Sampled(ctx context.Context) bool { return trace.SpanContextFromContext(ctx).IsSampled() }

// Parent is Inject's traceparent alone, empty when ctx's trace is not sampled.
func Parent(ctx context.Context) string { return Inject(ctx)[traceparent] }

// WithParent is Extract of a traceparent alone.
func WithParent(ctx context.Context, parent string) context.Context {
	return Extract(ctx, map[string]string{traceparent: parent})
}

const traceparent = "traceparent"
