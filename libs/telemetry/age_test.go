package telemetry_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tickfan/tickfan/libs/telemetry"
)

func TestAge(t *testing.T) {
	tel, err := telemetry.New("test")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tel.Close(t.Context()) }()
	age, err := telemetry.NewAge(tel.Meter("test"), "tickfan.test.age", "Help.")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []time.Duration{-time.Hour, 700 * time.Millisecond, time.Hour} {
		age.Since(time.Now().Add(-d).UnixMicro())
	}
	(*telemetry.Age)(nil).Since(0) // counts nothing
	r := httptest.NewRecorder()
	tel.Handler().ServeHTTP(r, httptest.NewRequest("GET", "/metrics", nil))
	for le, n := range map[string]string{"0.0005": "1", "0.5": "1", "1.0": "2", "30.0": "2", "+Inf": "3"} {
		found := false
		for line := range strings.Lines(r.Body.String()) {
			found = found || strings.HasPrefix(line, "tickfan_test_age_seconds_bucket{") && strings.Contains(line, `le="`+strings.TrimSuffix(le, ".0")+`"`) && strings.HasSuffix(strings.TrimSpace(line), "} "+n)
		}
		if !found {
			t.Errorf("not %s at or below %s s in:\n%s", n, le, r.Body)
		}
	}
	if n := testing.AllocsPerRun(100, func() { age.Since(1) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAge(b *testing.B) {
	tel, err := telemetry.New("test")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = tel.Close(b.Context()) }()
	age, err := telemetry.NewAge(tel.Meter("test"), "tickfan.test.age", "Help.")
	if err != nil {
		b.Fatal(err)
	}
	at := time.Now().UnixMicro()
	for b.Loop() {
		age.Since(at)
	}
}
