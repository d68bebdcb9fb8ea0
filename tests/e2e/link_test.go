package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/libs/natstest"
	tickfan "github.com/tickfan/tickfan/libs/sdk/go"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/tests/stack"
)

// traffic is what a server's leaf-node counters say of a link: what went out on it, and what came in.
type traffic struct {
	OutMsgs, OutBytes, InMsgs, InBytes int64
}

func (a traffic) minus(b traffic) traffic {
	return traffic{a.OutMsgs - b.OutMsgs, a.OutBytes - b.OutBytes, a.InMsgs - b.InMsgs, a.InBytes - b.InBytes}
}

// links gives the counters of a server's links, by the name of the server at the other end.
func links(t *testing.T, server *stack.Process) map[string]traffic {
	t.Helper()
	status, body, err := stack.Get("http://" + server.Await(`http monitor on (\S+)`)[0] + "/leafz")
	if err != nil || status != 200 {
		t.Fatalf("leafz: status %d, %v", status, err)
	}
	var leafz struct {
		Leafs []struct {
			Name     string `json:"name"`
			OutMsgs  int64  `json:"out_msgs"`
			OutBytes int64  `json:"out_bytes"`
			InMsgs   int64  `json:"in_msgs"`
			InBytes  int64  `json:"in_bytes"`
		} `json:"leafs"`
	}
	if err := json.Unmarshal([]byte(body), &leafz); err != nil {
		t.Fatalf("leafz: %v", err)
	}
	all := map[string]traffic{}
	for _, l := range leafz.Leafs {
		all[l.Name] = traffic{l.OutMsgs, l.OutBytes, l.InMsgs, l.InBytes}
	}
	return all
}

// around tells whether a link took n messages but for beats and what the mirror and the registry say, some a second.
func around(n, msgs int64, took time.Duration) bool {
	return msgs >= n && msgs <= n+50+20*int64(took.Seconds())
}

// A tick crosses a region's link once for all the routers at the server, and once for the mirror, however many edges, buckets
// and clients there are.
func TestTickCrossesTheLinkTwice(t *testing.T) {
	t.Parallel()
	const (
		ticks   = 20_000 // a round, 3 MB: JetStream's flow control has its say, too
		symbols = 20
		price   = `{"price":"%d.12345678","bid":"100.12345678","ask":"100.12345678","size":"1.12345678","bid_size":"1.12345678",` +
			`"ask_size":"1.12345678","open":"100.12345678","high":"100.12345678","low":"100.12345678","volume":"123456789.1"}`
	)
	regions := stack.StartRegions(t, programs, "eu")
	home, eu := regions[0], regions[1]
	pub := home.Connect()
	var names []string
	for i := range symbols {
		names = append(names, fmt.Sprintf("LINK%d-USD", i))
		set(t, pub, names[i], "1")
	}
	last := func(nc *nats.Conn) uint64 {
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s, err := js.Stream(ctx, subject.StreamTicks)
		if err != nil {
			return 0
		}
		return s.CachedInfo().State.LastSeq
	}
	away := eu.Connect()
	mirrored := func() bool { n := last(pub); return n > 0 && last(away) == n }
	natstest.Eventually(t, patience, mirrored, "the mirror has all ticks")

	var clients []*client
	round := func(what string, times int64) {
		t.Helper()
		for _, c := range clients {
			for _, s := range names {
				c.endsOn(s, set(t, pub, s, "2"))
			}
		}
		natstest.Eventually(t, patience, mirrored, "the mirror has all ticks")
		before, began, stored := links(t, home.Server.Process)[eu.Server.Name()], time.Now(), last(pub)
		for i := range ticks {
			if err := pub.Publish(subject.Ingest(subject.Symbol(names[i%symbols])), fmt.Appendf(nil, price, i/symbols+100)); err != nil {
				t.Fatal(err)
			}
			if i%100 == 99 {
				if err := pub.Flush(); err != nil {
					t.Fatal(err)
				}
			}
		}
		natstest.Eventually(t, patience, func() bool { return last(pub) >= stored+ticks && mirrored() }, "%s: all ticks are in the region's mirror", what)
		var newest []sent
		for _, s := range names {
			newest = append(newest, set(t, pub, s, "3.5"))
		}
		for _, c := range clients {
			for i, s := range names {
				c.endsOn(s, newest[i])
			}
		}
		natstest.Eventually(t, patience, mirrored, "the mirror has all ticks")
		got, took := links(t, home.Server.Process)[eu.Server.Name()].minus(before), time.Since(began)
		all := int64(last(pub) - stored) // ticks, one more of each symbol, and what ingest found to be missing and published again
		each := float64(all)
		t.Logf("%s: %.2f messages and %.0f bytes a tick to the region, %.3f and %.1f from it", what, float64(got.OutMsgs)/each,
			float64(got.OutBytes)/each, float64(got.InMsgs)/each, float64(got.InBytes)/each)
		if !around(times*all, got.OutMsgs, took) || !around(0, got.InMsgs, took) {
			t.Errorf("%s: %d ticks were %d messages to the region and %d from it in %s, want each tick %d times", what, all, got.OutMsgs, got.InMsgs, took, times)
		}
	}
	add := func(n int, edge *stack.Service) {
		for range n {
			c := dial(t, fmt.Sprintf("client %d", len(clients)), tickfan.Best, edge)
			c.subscribe(names, tickfan.Every())
			clients = append(clients, c)
		}
	}

	add(5, eu.Edge)
	round("5 clients, 1 edge", 2)
	add(5, startEdge(eu, "edge-b"))
	round("10 clients, 2 edges", 2)
	// What another router is to the link.
	if _, err := away.Subscribe(subject.TicksAll, func(*nats.Msg) {}); err != nil {
		t.Fatal(err)
	}
	if err := away.Flush(); err != nil {
		t.Fatal(err)
	}
	round("another router", 2)
}
