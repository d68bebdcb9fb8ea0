package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/libs/natstest"
	tickfan "github.com/tickfan/tickfan/libs/sdk/go"
	"github.com/tickfan/tickfan/proto/subject"
)

// JetStream's consumers are as many as processes that watch, however many clients, symbols and buckets there are.
func TestConsumersGrowWithProcessesAlone(t *testing.T) {
	t.Parallel()
	s := start(t)
	nc := s.Connect()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	count := func() map[string]int {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		all := map[string]int{}
		for _, name := range []string{subject.StreamTicks, "KV_" + subject.KVInterest, "KV_" + subject.KVEdges, "KV_" + subject.KVLeader} {
			stream, err := js.Stream(ctx, name)
			if err != nil {
				t.Fatal(err)
			}
			all[name] = stream.CachedInfo().State.Consumers
		}
		return all
	}
	// Ingest follows TICKS; registry and router watch INTEREST, the registry EDGES. A read at the start, or for a range, has
	// one for a moment.
	want := map[string]int{subject.StreamTicks: 1, "KV_" + subject.KVInterest: 2, "KV_" + subject.KVEdges: 1, "KV_" + subject.KVLeader: 0}
	settled := func(when string) {
		t.Helper()
		natstest.Eventually(t, patience, func() bool { return fmt.Sprint(count()) == fmt.Sprint(want) }, "%s, the consumers are %v", when, want)
	}
	settled("without clients")
	for i := range 20 {
		symbol := fmt.Sprintf("MANY%d-USD", i)
		price := set(t, nc, symbol, "1.50")
		c := dial(t, fmt.Sprintf("client %d", i), tickfan.Best, s.Edges[i%2])
		c.subscribe([]string{symbol}, tickfan.Every())
		c.endsOn(symbol, price)
	}
	settled("with 20 clients of 20 symbols")
}
