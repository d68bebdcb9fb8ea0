package tickctl

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A question that is not answered ends nothing; a rate is of the time between two renewals.
func TestTopBetweenAnswers(t *testing.T) {
	local := newRegion(t, "local")
	local.change(func() {
		local.deaf, local.falling = [2]int{2, 2 + asks}, 10 // all that the third look asks
		local.edges[0].Drain = true
		local.edges[1].Renewed = time.Now().UnixMicro()
	})
	code, out, err := run(t, "", "top", "--json", "-n", "4", "--interval", "1100ms", "--timeout", "1s", "--nats", local.URL())
	looks := strings.Split(strings.TrimSpace(out), "\n")
	if code != exitDone || err != "" || len(looks) != 4 {
		t.Fatalf("code %d, err %q, out\n%s", code, err, out)
	}
	for i, state := range []string{"draining", "draining", noAnswer, "draining"} {
		var l look
		if err := json.Unmarshal([]byte(looks[i]), &l); err != nil || len(l.Edges) != 2 || l.Edges[0].State != state || (l.Edges[0].Change < 0) != (i > 0) || l.Edges[1].Change != 0 {
			t.Errorf("%v, look %d: %s", err, i, looks[i])
		}
	}
}

func TestTopOfLeases(t *testing.T) {
	local := newRegion(t, "local")
	t.Setenv("TICKFAN_NATS", local.URL())
	code, out, err := run(t, "", "top", "--count", "1")
	const want = `EDGE           CONNECTIONS  CHANGE/S  BUCKETS  STATE
edge-a-ab12cd          250      +0.0        1  open
edge-b-ef34gh           50      +0.0        1  open

`
	if code != exitDone || err != "" || out != want {
		t.Errorf("code %d, err %q, out\n%s", code, err, out)
	}
	local.change(func() { local.edges[0].Drain, local.falling = true, 10 })
	code, out, err = run(t, "", "top", "--json", "-n", "2", "--interval", "1100ms", "--timeout", "20s")
	looks := strings.Split(strings.TrimSpace(out), "\n")
	var l look
	if code != exitDone || err != "" || len(looks) != 2 || json.Unmarshal([]byte(looks[1]), &l) != nil || len(l.Edges) != 2 ||
		l.Edges[0].Connections != 230 || l.Edges[0].Change >= 0 || l.Edges[0].State != "draining" || l.Edges[1].Change != 0 || l.Edges[0].Ticks != nil {
		t.Errorf("code %d, err %q, out\n%s", code, err, out)
	}
}

func TestTopOfOpsPorts(t *testing.T) {
	var n atomic.Int64
	edge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" {
			http.NotFound(w, r)
			return
		}
		i := n.Add(1)
		fmt.Fprintf(w, "# HELP x y\ntickfan_edge_connections{a=\"b\"} %d\ntickfan_edge_buckets 2\ntickfan_edge_deliveries_total{bucket=\"{ }\"} %d\n"+
			"tickfan_edge_writes_total 10\ntickfan_edge_written_bytes_total 2048\nprocess_resident_memory_bytes 2.097152e+06\nprocess_cpu_seconds_total 0.5\n", 40+i, 1000*i)
	}))
	defer edge.Close()
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()

	code, out, err := run(t, "", "top", "--ops", edge.URL, "--ops", other.URL+"/metrics", "--json", "-n", "2", "--interval", "100ms")
	looks := strings.Split(strings.TrimSpace(out), "\n")
	var l look
	if code != exitDone || err != "" || len(looks) != 2 || json.Unmarshal([]byte(looks[1]), &l) != nil || len(l.Edges) != 2 {
		t.Fatalf("code %d, err %q, out\n%s", code, err, out)
	}
	if e := l.Edges[0]; e.Edge != strings.TrimPrefix(edge.URL, "http://") || e.Connections != 42 || e.Buckets != 2 || e.Change <= 0 || e.State != "" ||
		e.Ticks == nil || *e.Ticks < 100 || *e.Writes != 0 || *e.Bytes != 0 || *e.CPU != 0 || *e.Memory != 2<<20 {
		t.Errorf("%s", looks[1])
	}
	if e := l.Edges[1]; e.State != "no answer" || e.Ticks != nil {
		t.Errorf("%s", looks[1])
	}
	code, out, err = run(t, "", "top", "--ops", strings.TrimPrefix(edge.URL, "http://"), "-n", "1")
	if code != exitDone || err != "" || !strings.Contains(out, "CONNECTIONS  CHANGE/S  BUCKETS  TICKS/S  WRITES/S  BYTES/S  CONFLATED/S  CPU  MEMORY  STATE\n") || !strings.Contains(out, "  2 MB\n") {
		t.Errorf("code %d, err %q, out\n%s", code, err, out)
	}
	if code, out, err := run(t, "", "top", "--ops", other.URL, "-n", "1"); code != exitFault || out != "" ||
		!strings.Contains(err, other.URL+"/metrics has no metrics of an edge (404 Not Found); give the ops port of one") {
		t.Errorf("code %d, err %q, out %q", code, err, out)
	}
	other.Close()
	if code, _, err := run(t, "", "top", "--ops", other.URL, "-n", "1"); code != exitFault || !strings.Contains(err, "is an edge's ops port there?") || strings.Count(err, "\n") != 1 {
		t.Errorf("code %d, err %q", code, err)
	}
	if code, _, err := run(t, "", "top", "--interval", "1ms"); code != exitFault || !strings.Contains(err, "100ms or more") {
		t.Errorf("code %d, err %q", code, err)
	}
}

func FuzzParseMetrics(f *testing.F) {
	f.Add("a_total{code=\"1001\"} 12\na_total{code=\"}\"} 1 1763769600\nb 1e3\n")
	f.Add("# HELP a b\n{\n}\na\na b\n")
	f.Add("0\r 0\n")
	f.Fuzz(func(t *testing.T, text string) {
		for name := range parseMetrics(text) {
			if name != strings.TrimSpace(name) || strings.ContainsAny(name, "\n{") {
				t.Errorf("name %q", name)
			}
		}
	})
}

func TestParseMetrics(t *testing.T) {
	got := parseMetrics("# TYPE a_total counter\na_total{code=\"1001\"} 12\na_total{code=\"} 7\"} 1 1763769600\nb 1e3\n\nc NaN\nd x\ne\n")
	if len(got) != 3 || got["a_total"] != 13 || got["b"] != 1000 || !math.IsNaN(got["c"]) {
		t.Errorf("%v", got)
	}
}
