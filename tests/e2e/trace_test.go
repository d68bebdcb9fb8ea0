package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/tickfan/tickfan/libs/natstest"
	tickfan "github.com/tickfan/tickfan/libs/sdk/go"
	"github.com/tickfan/tickfan/libs/telemetry/tracetest"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/tests/stack"
	"github.com/tickfan/tickfan/tests/stack/exchange"
)

const (
	ticksTree = `  tickfan-ingest: send ticks.{symbol}
    tickfan-router: process ticks.{symbol}
      tickfan-edge: process fanout.{region}.{bucket}
      tickfan-edge: process fanout.{region}.{bucket}
`
	priceTree     = "tickfan-ingest: process ingest.{symbol}\n" + ticksTree
	exchangeTree  = "tickfan-ingest: process coinbase\n" + ticksTree
	refusedTree   = "tickfan-ingest: process ingest.{symbol}\n"
	subscribeTree = `tickfan-edge: subscribe
  tickfan-edge: send registry.{region}.interest
    tickfan-registry: process registry.{region}.interest
      tickfan-registry: put INTEREST
      tickfan-registry: send interest.{region}
        tickfan-router: process interest.{region}
`
)

// TestTraces: a price, one that is refused, an exchange's frame and a subscribe are one trace each, over all processes.
func TestTraces(t *testing.T) {
	t.Parallel()
	c := tracetest.Start(t)
	recording, err := exchange.Open("testdata/two_products_with_heartbeats.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	x := exchange.Start(t, recording)
	s := stack.Start(t, stack.Options{Programs: programs, Env: c.Env(), Ingest: []string{"--source", "coinbase", "--coinbase-url", x.URL(),
		"--coinbase-products", strings.Join(recording.Products, ",")}})
	nc := s.Connect()
	const symbol = "TRACE-USD"
	all := append([]string{symbol}, recording.Products...)
	for i, e := range s.Edges {
		encodings := []tickfan.Encoding{tickfan.Compact, tickfan.JSON}
		options := [][]tickfan.SubscribeOption{{tickfan.Every()}, nil}
		dial(t, "client of "+e.Name(), encodings[i], e).subscribe(all, options[i]...)
	}

	is := func(what, id, want string) []tracetest.Span {
		t.Helper()
		var tree string
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("the trace of %s:\n%s", what, tree)
			}
		})
		natstest.Eventually(t, patience, func() bool { tree = tracetest.Tree(c.Trace(id)); return tree == want }, "the trace of %s is whole", what)
		return c.Trace(id)
	}
	publish := func(payload, parent string) control.IngestAnswer {
		t.Helper()
		m := nats.NewMsg("ingest." + symbol)
		m.Data = []byte(payload)
		if parent != "" {
			m.Header["traceparent"] = []string{parent} // as typed by hand
		}
		r, err := nc.RequestMsg(m, patience)
		if err != nil {
			t.Fatal(err)
		}
		var a control.IngestAnswer
		if err := json.Unmarshal(r.Data, &a); err != nil {
			t.Fatal(err)
		}
		return a
	}

	for _, span := range is("a price", publish(`{"price":"1"}`, "").Trace, priceTree) {
		if a := span.Attributes; span.Service == "tickfan-edge" && (a["tickfan.subscribers"] != "1" || a["tickfan.written"] != "1" || a["tickfan.symbol"] != symbol || a["tickfan.region"] != "local") {
			t.Errorf("%s has %v", span.Name, a)
		}
	}

	const caller = "4bf92f3577b34da6a3ce929d0e0e4736"
	if a := publish(`{"price":"2"}`, "00-"+caller+"-00f067aa0ba902b7-01"); a.Trace != caller {
		t.Errorf("a traced caller's price has the trace %s", a.Trace)
	}
	is("a traced caller's price", caller, priceTree)
	if a := publish(`{"price":"3"}`, "00-"+caller+"-00f067aa0ba902b7-00"); !a.OK || a.Trace != "" {
		t.Errorf("who does not trace is answered %+v", a)
	}

	a := publish(`{"price":"-1"}`, "")
	if refused := is("a refused price", a.Trace, refusedTree)[0]; !strings.Contains(refused.Error, `"-1"`) {
		t.Errorf("it says %q", refused.Error)
	}

	find := func(name string) (ids []string) {
		for _, span := range c.Spans() {
			if span.Name == name {
				ids = append(ids, span.Trace)
			}
		}
		return ids
	}
	natstest.Eventually(t, patience, func() bool { return len(find("subscribe")) == len(s.Edges) }, "each subscribe is traced")
	for _, id := range find("subscribe") {
		// Several parts of the bucket's interest change, each with a key and an announcement.
		natstest.Eventually(t, patience, func() bool {
			lines := strings.Split(tracetest.Tree(c.Trace(id)), "\n")
			seen, once := map[string]bool{}, ""
			for _, l := range lines {
				if !seen[l] {
					once += l + "\n"
				}
				seen[l] = true
			}
			return strings.TrimSpace(once) == strings.TrimSpace(subscribeTree)
		}, "the trace of a subscribe is whole")
	}

	if err := x.Play(t.Context(), speed); err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, patience, func() bool {
		for _, id := range find("process coinbase") {
			if tracetest.Tree(c.Trace(id)) == exchangeTree {
				return true
			}
		}
		return false
	}, "an exchange's frame is traced")
}
