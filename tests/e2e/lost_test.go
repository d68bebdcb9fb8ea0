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
// edges send what they want again, and prices go on.
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
	natstest.Eventually(t, patience, func() bool { return kept() == 1 }, "the interest is in KV")
	if err := js.DeleteKeyValue(ctx, subject.KVInterest); err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, patience, func() bool { return kept() == 1 }, "the interest is in KV again")
	natstest.Eventually(t, patience, func() bool { return s.Router.Metric("tickfan_router_interest_buckets") == 1 },
		"the router serves the edge again")
	c.endsOn(symbol, set(t, nc, symbol, "2"))
}
