package telemetry

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// Telemetry holds the instruments of one process. Its methods may be called from
// any goroutine.
type Telemetry struct {
	registry *prometheus.Registry
	provider *sdkmetric.MeterProvider

	mu     sync.Mutex
	traces []*sdktrace.TracerProvider
}

// New returns the telemetry of a service, with the figures of the Go runtime and of
// the process already registered. The service's name appears as service_name of the
// series target_info. What is true of the whole process, such as its region, every
// series gets as labels. The caller closes it.
func New(service string, labels ...attribute.KeyValue) (*Telemetry, error) {
	registry := prometheus.NewRegistry()
	constant := prometheus.Labels{}
	for _, l := range labels {
		constant[string(l.Key)] = l.Value.String()
	}
	labelled := prometheus.WrapRegistererWith(constant, registry)
	for _, c := range []prometheus.Collector{
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := labelled.Register(c); err != nil {
			return nil, fmt.Errorf("register collector: %w", err)
		}
	}
	exporter, err := otelprom.New(otelprom.WithRegisterer(labelled))
	if err != nil {
		return nil, fmt.Errorf("make prometheus exporter: %w", err)
	}
	return &Telemetry{
		registry: registry,
		provider: sdkmetric.NewMeterProvider(
			sdkmetric.WithReader(exporter),
			sdkmetric.WithResource(resource.NewSchemaless(attribute.String("service.name", service))),
		),
	}, nil
}

// Meter returns the meter of that name. The name becomes the label otel_scope_name of
// each series, which keeps the same instrument of two services in one process apart:
// begin it with the service's name.
//
// An instrument "tickfan.nats.errors" is scraped as tickfan_nats_errors_total.
func (t *Telemetry) Meter(name string) metric.Meter { return t.provider.Meter(name) }

// Handler serves the metrics in the Prometheus text or OpenMetrics format.
func (t *Telemetry) Handler() http.Handler {
	return promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{
		EnableOpenMetrics: true,
		// One bad series must not take the others from the operator in the middle of
		// an incident; the fault itself is counted by promhttp's own metric.
		ErrorHandling: promhttp.ContinueOnError,
		Registry:      t.registry,
	})
}

// Close stops the instruments and sends the traces that have not left yet. Nothing that was
// counted is lost before a last scrape: what is counted after Close is.
func (t *Telemetry) Close(ctx context.Context) error {
	err := t.provider.Shutdown(ctx)
	if err != nil {
		err = fmt.Errorf("stop metrics: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, lastTraces)
	defer cancel()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.traces {
		// Who collects traces may be gone before us, which is no fault of ours; see LogErrors.
		if err := p.Shutdown(ctx); err != nil {
			otel.Handle(fmt.Errorf("send the last traces: %w", err))
		}
	}
	return err
}

// lastTraces is how long Close tries to send what is left.
const lastTraces = time.Second
