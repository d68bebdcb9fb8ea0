package observe

import (
	"context"
	"maps"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/tickfan/tickfan/libs/natstest"
	tickfan "github.com/tickfan/tickfan/libs/sdk/go"
	"github.com/tickfan/tickfan/libs/telemetry/tracetest"
	"github.com/tickfan/tickfan/tests/stack"
	"github.com/tickfan/tickfan/tests/stack/exchange"
)

// labelSet is a set of labels' names.
type labelSet map[string]bool

func set(names ...string) labelSet {
	l := labelSet{}
	for _, n := range names {
		l[n] = true
	}
	return l
}

func union(a, b labelSet) labelSet {
	u := maps.Clone(a)
	maps.Copy(u, b)
	return u
}

func minus(l labelSet, names ...string) labelSet {
	l = maps.Clone(l)
	for _, n := range names {
		delete(l, n)
	}
	return l
}

// target has the labels that Prometheus gives all series of one, the last only on Kubernetes.
func target() labelSet { return set("job", "instance", "namespace") }

// metrics are the labels of each metric's series, by its name.
type metrics map[string]labelSet

// told looks at the metrics of running services until nothing is missing: prices came, one was refused, clients came, asked for
// nonsense and went. The labels of a target are Prometheus's.
func told(t *testing.T, missing func(metrics) []string) {
	t.Helper()
	recording, err := exchange.Open("../e2e/testdata/two_products_with_heartbeats.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	s := stack.Start(t, stack.Options{Programs: programs, Edges: 1, Env: tracetest.Start(t).Env(), Ingest: []string{"--source", "generator", "--source", "coinbase",
		"--coinbase-url", exchange.Start(t, recording).URL(), "--coinbase-products", strings.Join(recording.Products, ",")}})
	nc := s.Connect()
	for _, price := range []string{"64123.51", "no price"} {
		if err := nc.Publish("ingest.BTC-USD", []byte(price)); err != nil {
			t.Fatal(err)
		}
	}
	watch(t, s.Edges[0])
	if status, _, err := stack.Get(s.Edges[0].URL() + "/v1/ticks/btc"); status != 400 || err != nil {
		t.Errorf("a bad symbol is answered %d, %v", status, err)
	}
	var still lines
	natstest.Eventually(t, patience, func() bool {
		all := metrics{"up": target(), "ALERTS": set("alertname", "alertstate", "severity")}
		for _, service := range s.Services() {
			all.scrape(t, service)
		}
		still = missing(all)
		return len(still) == 0
	}, "all that is asked for is told: %v", &still)
}

type lines []string

func (l *lines) String() string { return strings.Join(*l, "\n") }

// watch is a client until one of its ticks has been measured, which not each is.
func watch(t *testing.T, edge *stack.Service) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := tickfan.Dial(ctx, edge.URL(), tickfan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Subscribe(ctx, []string{"ETH-USD", "SOL-USD"}); err != nil {
		t.Fatal(err)
	}
	for event, err := range c.Events(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := event.(tickfan.Tick); ok && edge.Metric("tickfan_edge_delivery_age_seconds_count") > 0 {
			return
		}
	}
}

func (all metrics) scrape(t *testing.T, s *stack.Service) {
	t.Helper()
	_, body, err := stack.Get(s.OpsURL() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		t.Fatalf("%s: %v", s.Name(), err)
	}
	for name, family := range families {
		l := target()
		for _, m := range family.GetMetric() {
			for _, pair := range m.GetLabel() {
				l[pair.GetName()] = true
			}
		}
		switch {
		case family.GetMetric()[0].Histogram != nil:
			all.add(name+"_bucket", union(l, set("le")))
		case family.GetMetric()[0].Summary != nil:
			all.add(name, union(l, set("quantile")))
		default:
			all.add(name, l)
			continue
		}
		all.add(name+"_sum", l)
		all.add(name+"_count", l)
	}
}

func (all metrics) add(name string, l labelSet) { all[name] = union(l, all[name]) }
