package e2e

import (
	"context"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/libs/natstest"
	tickfan "github.com/tickfan/tickfan/libs/sdk/go"
	"github.com/tickfan/tickfan/proto/subject"
)

// TestStoreLost: the interest of a whole region is deleted under running clients. The registry makes the store again, the
// edges send what they want again. The router serves them all the while.
func TestStoreLost(t *testing.T) {
	t.Parallel()
	s := start(t)
	const symbol = "PUB-USD"
	c := dial(t, "client", tickfan.MessagePack, s.Edges[0])
	nc := s.Connect()
	first := set(t, nc, symbol, "1")
	c.subscribe([]string{symbol})
	c.endsOn(symbol, first)

	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	kept := func() int {
		kv, err := js.KeyValue(ctx, subject.KVInterest)
		if err != nil {
			return 0
		}
		keys, err := kv.Keys(ctx)
		if err != nil {
			return 0
		}
		return len(keys)
	}
	served := func() bool { return s.Router.Metric("tickfan_router_interest_buckets") == 1 }
	natstest.Eventually(t, patience, func() bool { return kept() == 1 && served() }, "the interest is in KV, and the router counts it")
	if err := js.DeleteKeyValue(ctx, subject.KVInterest); err != nil {
		t.Fatal(err)
	}
	c.endsOn(symbol, set(t, nc, symbol, "2"))
	natstest.Eventually(t, patience, func() bool {
		if !served() {
			t.Fatal("the router lets go of what the edge wants")
		}
		return kept() == 1 && s.Router.Metric("tickfan_interest_confirmations_total") > 1
	}, "the interest is in KV again")
	natstest.Eventually(t, patience, func() bool { return s.Router.Metric("tickfan_router_interest_ahead") == 0 }, "the router sees it there")
	c.endsOn(symbol, set(t, nc, symbol, "3"))
}
