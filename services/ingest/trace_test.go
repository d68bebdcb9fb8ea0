package ingest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/tickfan/tickfan/libs/telemetry"
	"github.com/tickfan/tickfan/libs/telemetry/tracetest"
	"github.com/tickfan/tickfan/services/ingest/internal/stamp"
)

// Of a feed only who stamps begins traces: those of an ingest that stands by would end where they begin.
func TestStandbyTracesNoFeed(t *testing.T) {
	for _, e := range tracetest.Start(t).Env() {
		name, value, _ := strings.Cut(e, "=")
		t.Setenv(name, value)
	}
	tel, err := telemetry.New("ingest")
	if err != nil {
		t.Fatal(err)
	}
	defer tel.Close(context.Background())
	s := &service{stamper: stamp.New(nil, 1, time.Now)}
	if s.tracer, err = tel.Tracer(t.Context(), "ingest"); err != nil {
		t.Fatal(err)
	}
	s.generated, s.exchanged = s.tracer.Cap(fedTraces), s.tracer.Cap(fedTraces)
	traced := func() bool {
		_, span := s.traceFeed(s.exchanged, "coinbase", "BTC-USD")
		defer span.End()
		return span.IsRecording()
	}
	if traced() {
		t.Error("it stands by and traces")
	}
	s.stamper.Begin(1, nil)
	for range 100 { // made-up prices come all the time
		_, span := s.traceFeed(s.generated, SourceGenerator, "BTC-USD")
		span.End()
	}
	if !traced() {
		t.Error("it stamps and does not trace")
	}
}
