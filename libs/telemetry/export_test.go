package telemetry

import (
	"go.opentelemetry.io/otel/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// NewQueue is for tests with a collector of their own.
func NewQueue(e sdktrace.SpanExporter, m metric.Meter) (sdktrace.SpanProcessor, error) {
	return newQueue(e, m)
}

// CheckSampler is for tests without a collector.
func CheckSampler(sampler, arg string) error { return checkSampler(sampler, arg) }
