package telemetry

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/metric"
)

// Age is a histogram of how old something is, in seconds. A nil Age counts nothing.
type Age struct{ seconds metric.Float64Histogram }

// NewAge makes the instrument. Its buckets reach from 0.5 ms, a tick's way within a host, to half a minute, when
// nobody believes a price any more.
func NewAge(meter metric.Meter, name, description string) (*Age, error) {
	h, err := meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description),
		metric.WithExplicitBucketBoundaries(.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30))
	if err != nil {
		return nil, fmt.Errorf("make instrument %s: %w", name, err)
	}
	return &Age{h}, nil
}

// Since counts the age of what is of at, in microseconds since 1970 by any clock. Where that clock is ahead of ours,
// the age is 0.
func (a *Age) Since(at int64) {
	if a != nil {
		a.seconds.Record(context.Background(), max(0, float64(time.Now().UnixMicro()-at)/1e6))
	}
}
