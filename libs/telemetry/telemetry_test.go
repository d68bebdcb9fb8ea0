package telemetry_test

import (
	"context"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tickfan/tickfan/libs/telemetry"
)

func TestMetricsOfTwoServicesInOneProcess(t *testing.T) {
	tel, err := telemetry.New("dev")
	if err != nil {
		t.Fatal(err)
	}
	for i, service := range []string{"edge", "router"} {
		c, err := tel.Meter(service).Int64Counter("tickfan.test.things")
		if err != nil {
			t.Fatal(err)
		}
		c.Add(context.Background(), int64(i+1))
	}
	// A second telemetry in the process must not be in the way of the first.
	other, err := telemetry.New("other")
	if err != nil {
		t.Fatal(err)
	}

	rec := httptest.NewRecorder()
	tel.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	body := rec.Body.String()
	for _, want := range []string{
		`tickfan_test_things_total{otel_scope_name="edge"`,
		`tickfan_test_things_total{otel_scope_name="router"`,
		`target_info{service_name="dev"}`,
		"go_goroutines ",
		"process_open_fds ",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("/metrics has no %s", want)
		}
	}
	for _, tl := range []*telemetry.Telemetry{tel, other} {
		if err := tl.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
	if t.Failed() {
		t.Log(body)
	}
}

func TestLabelsOfTheProcess(t *testing.T) {
	tel, err := telemetry.New("edge", attribute.String("region", "eu"))
	if err != nil {
		t.Fatal(err)
	}
	defer tel.Close(context.Background())
	c, err := tel.Meter("edge").Int64Counter("tickfan.test.things")
	if err != nil {
		t.Fatal(err)
	}
	c.Add(context.Background(), 1, metric.WithAttributes(attribute.String("code", "x")))
	rec := httptest.NewRecorder()
	tel.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	for _, name := range []string{"tickfan_test_things_total", "go_goroutines", "process_open_fds"} {
		if !regexp.MustCompile(`(?m)^` + name + `\{(.*,)?region="eu"\} `).MatchString(rec.Body.String()) {
			t.Errorf("%s has no region:\n%s", name, rec.Body)
		}
	}
}
