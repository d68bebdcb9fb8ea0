package report

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{nil, math.NaN()}, {[]float64{math.NaN()}, math.NaN()}, {[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5},
		{[]float64{5, math.NaN(), 1, 3}, 3},
	} {
		if got := Median(c.values); got != c.want && !(math.IsNaN(got) && math.IsNaN(c.want)) {
			t.Errorf("median of %v is %v, want %v", c.values, got, c.want)
		}
	}
}

func TestTargets(t *testing.T) {
	for _, c := range []struct {
		target Target
		state  State
		got    string
	}{
		{AtMost("x", 1.0601, 1.06, 2, " x"), Missed, "1.06 x"},
		{AtMost("x", 1.06, 1.06, 2, ""), Reached, "1.06"},
		{AtMost("x", math.NaN(), 1, 2, ""), NotMeasured, "-"},
		{AtLeast("x", 39, 40, 0, ""), Missed, "39"},
		{AtLeast("x", 40, 40, 0, ""), Reached, "40"},
		{Holds("x", true, "9 of 9"), Reached, "9 of 9"},
		{Holds("x", false, "8 of 9"), Missed, "8 of 9"},
	} {
		if c.target.State != c.state || c.target.Got != c.got {
			t.Errorf("%+v: want %q, %s", c.target, c.got, c.state)
		}
	}
}

func TestRun(t *testing.T) {
	r := Run{Sockets: 1000, Window: 10, Deliveries: 4_000_000, ServerCPU: 2, EmptyRSS: 10 << 20, SettledRSS: 12 << 20,
		EdgeWrites: 100, EdgeDeliveries: 4700, Connecting: Connect{Ready: 1000, Took: 0.5, CPU: 0.1}}
	for name, c := range map[string][2]float64{
		"CPUPerDelivery": {r.CPUPerDelivery(), 0.5}, "CPUPerConnect": {r.CPUPerConnect(), 100}, "ConnectRate": {r.ConnectRate(), 2000},
		"BytesPerConnection": {r.BytesPerConnection(), 2 << 20 / 1000.0}, "CPUPerConnectionSecond": {r.CPUPerConnectionSecond(), 200},
		"UpdatesPerWrite": {r.UpdatesPerWrite(), 47},
	} {
		if math.Abs(c[0]-c[1]) > 1e-9 {
			t.Errorf("%s is %v, want %v", name, c[0], c[1])
		}
	}
	var none Run
	for name, v := range map[string]float64{"CPUPerDelivery": none.CPUPerDelivery(), "ConnectRate": none.ConnectRate(), "CPUPerConnectionSecond": none.CPUPerConnectionSecond()} {
		if !math.IsNaN(v) {
			t.Errorf("%s of nothing is %v", name, v)
		}
	}
	h := hdrhistogram.New(1, 1_000_000, 3)
	for i := range int64(1000) {
		_ = h.RecordValue(i + 1)
	}
	if q := QuantilesOf(h); q != (Quantiles{P50: 500, P90: 900, P99: 990, P999: 999, Max: 1000}) {
		t.Errorf("%+v", q)
	}
	if q := QuantilesOf(nil); q != (Quantiles{}) {
		t.Errorf("of no histogram: %+v", q)
	}
}

func sample() *Report {
	return &Report{
		Began: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Command: "make bench", Rounds: 1,
		Machine: []Fact{{"CPU", "Abacus <2>"}}, Failed: []string{"A/1/edge", "I/1/edge"},
		Scenarios: []Scenario{{
			ID: "A", Title: "one symbol", Targets: []Target{AtMost("CPU | limit", 1.02, 1.06, 2, " x")},
			Head: []string{"server", "us"}, Rows: [][]string{{"edge", "4.1"}, {"limit", "4.0"}}, Notes: []string{"A note."},
		}, {ID: "G", Title: "bytes", Targets: []Target{{What: "bytes", Want: "≤ 16", Got: "-", State: NotMeasured}}, Notes: []string{"Not run."}}},
		Runs: []Run{{Scenario: "A", Round: 1, Server: "edge"}},
		Bars: []Panel{{Title: "CPU <&>", Bars: []Bar{{Name: "edge", Value: 4.1, Text: "4.1 us", Ours: true}, {Name: "limit", Value: 0, Text: "0"}}}},
	}
}

func TestMarkdown(t *testing.T) {
	got := sample().Markdown()
	for _, want := range []string{
		"# Load test\n\n`make bench`, 2026-01-02, rounds: 1\n", "- CPU: Abacus <2>\n", "\n**Failed: A/1/edge, I/1/edge.**",
		"| A        | CPU \\| limit | ≤ 1.06 x | 1.02 x   | yes          |\n",
		"| G        | bytes", "\n## A: one symbol\n\n| server | us  |\n|--------|-----|\n| edge   | 4.1 |\n| limit  | 4.0 |\n\nA note.\n", "## G: bytes\n\nNot run.\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestJSON(t *testing.T) {
	b, err := sample().JSON()
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(&back, sample()) {
		t.Errorf("came back as %+v", back)
	}
}

// The picture is well-formed, has a bar for each figure, and reaches for nothing outside.
func TestSVG(t *testing.T) {
	svg := SVG(sample().Bars, "a < b")
	d := xml.NewDecoder(strings.NewReader(svg))
	rects := 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "rect" {
			rects++
		}
	}
	if rects != 2 {
		t.Errorf("%d bars, want 2", rects)
	}
	if strings.Count(svg, "http") != 1 || strings.Contains(svg, "url(") {
		t.Error("the picture refers to something outside of it")
	}
	if !strings.Contains(svg, "prefers-color-scheme:dark") {
		t.Error("the picture has no colours for a dark page")
	}
}
