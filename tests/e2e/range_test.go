package e2e

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/tickfan/tickfan/libs/natstest"
	tickfan "github.com/tickfan/tickfan/libs/sdk/go"
	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/tests/stack"
)

// TestRanges: who was away for longer than an edge keeps is told so, and gets from the history what it still has; at either
// edge, over HTTP and by the SDK; a router's restart in between changes nothing.
func TestRanges(t *testing.T) {
	t.Parallel()
	const (
		symbol    = "PUB-USD"
		published = 1300
		history   = 1100
		kept      = 512 // by an edge
		first     = published - history + 1
	)
	s := start(t, "--history", fmt.Sprint(history))
	nc := s.Connect()
	var all []sent
	for i := range published {
		all = append(all, set(t, nc, symbol, fmt.Sprintf("%d.25", i+1)))
	}
	epoch, newest := all[0].Epoch, all[published-1]
	if newest.Epoch != epoch || newest.Seq != published {
		t.Fatalf("the newest is %v, the first was of %d", newest.Position, epoch)
	}
	holds := func(ticks []tickfan.Tick, from, to uint64) {
		t.Helper()
		if uint64(len(ticks)) != to-from+1 {
			t.Fatalf("%d ticks, want %d to %d", len(ticks), from, to)
		}
		for i, k := range ticks {
			if want := all[from-1+uint64(i)]; k.Position != want.Position || k.Price.String() != want.price {
				t.Fatalf("tick %v %s, want %v %s", k.Position, k.Price, want.Position, want.price)
			}
		}
	}

	after := tickfan.After(symbol, tickfan.Position{Epoch: epoch, Seq: 400})
	plain := dial(t, "plain", tickfan.MessagePack, s.Edges[0])
	plain.subscribe([]string{symbol}, tickfan.Every(), after)
	plain.endsOn(symbol, newest)
	gaps := plain.history(symbol).gaps()
	if len(gaps) != 1 || gaps[0] != (tickfan.Gap{Symbol: symbol, Epoch: epoch, From: 401, To: published - kept}) {
		t.Errorf("gaps %+v", gaps)
	}
	holds(plain.history(symbol).ticks(), published-kept+1, published)
	fetched, err := plain.Ticks(t.Context(), symbol, epoch, 1, published-kept)
	if err != nil {
		t.Fatal(err)
	}
	holds(fetched, first, published-kept)
	if _, err := plain.Ticks(t.Context(), symbol, epoch, 1, first-1); coded(err) != code.Gone {
		t.Errorf("what is gone: %v", err)
	}

	filling := dialWith(t, "filling", tickfan.Options{FetchGaps: true}, s.Edges[1].URL())
	filling.subscribe([]string{symbol}, tickfan.Every(), tickfan.After(symbol, tickfan.Position{Epoch: epoch, Seq: first - 11}))
	filling.endsOn(symbol, newest)
	if gaps := filling.history(symbol).gaps(); len(gaps) != 1 || gaps[0] != (tickfan.Gap{Symbol: symbol, Epoch: epoch, From: first - 10, To: first - 1}) {
		t.Errorf("gaps %+v", gaps)
	}
	holds(filling.history(symbol).ticks(), first, published)

	s.Router.Kill()
	s.Router.Start()
	s.Router.AwaitReady()
	for _, edge := range s.Edges {
		q := url.Values{"epoch": {fmt.Sprint(epoch)}, "from": {fmt.Sprint(first)}, "to": {fmt.Sprint(first + 999)}}
		natstest.Eventually(t, patience, func() bool {
			status, body, err := stack.Get(edge.URL() + "/v1/ticks/" + symbol + "?" + q.Encode())
			return err == nil && status == 200 && strings.Count(body, `"seq"`) == 1000
		}, "1,000 ticks at %s", edge.Name())
	}
	newest = set(t, nc, symbol, "7.75")
	plain.endsOn(symbol, newest)
	filling.endsOn(symbol, newest)
}

func coded(err error) code.Code {
	if e, ok := errors.AsType[*code.Error](err); ok {
		return e.Code
	}
	return ""
}
