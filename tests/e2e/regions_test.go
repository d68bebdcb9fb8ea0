package e2e

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/libs/natstest"
	tickfan "github.com/tickfan/tickfan/libs/sdk/go"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
	"github.com/tickfan/tickfan/tests/stack"
)

// A region that is cut off keeps its clients, says that prices may be old, and takes new clients, subscriptions and edges;
// when the link is back all have the newest prices. Another region notices nothing.
func TestRegionCutOff(t *testing.T) {
	t.Parallel()
	regions := stack.StartRegions(t, programs, "eu", "us")
	home, eu, us := regions[0], regions[1], regions[2]
	pub := publishOn(t, home.Connect(), "PUB-USD")
	quiet := set(t, eu.Connect(), "QUIET-USD", "7.50") // published in one region, seen in all
	clients := map[string]*client{}
	for _, r := range regions {
		for name, options := range map[string][]tickfan.SubscribeOption{"latest": nil, "every": {tickfan.Every()}} {
			c := dial(t, name+" in "+r.Name, tickfan.Compact, r.Edge)
			c.subscribe([]string{"PUB-USD", "QUIET-USD"}, options...)
			c.endsOn("QUIET-USD", quiet)
			c.reaches("PUB-USD", pub.goesOn().Position)
			clients[c.name] = c
		}
	}
	isMirrored(t, eu, "QUIET-USD", quiet)

	eu.Link.Cut()
	natstest.Eventually(t, patience, func() bool { return clients["latest in eu"].isStale() }, "clients of the region that is cut off are told")
	before := pub.goesOn()
	clients["every in us"].reaches("PUB-USD", before.Position)
	clients["every in home"].reaches("PUB-USD", before.Position)

	late := dial(t, "late, at a new edge", tickfan.JSON, startEdge(eu, "edge-b"))
	late.subscribe([]string{"QUIET-USD"})
	late.endsOn("QUIET-USD", quiet)
	eu.Router.Kill() // the next one has only the mirror
	eu.Router.Start()
	eu.Router.AwaitReady()
	later := dial(t, "later", tickfan.Compact, eu.Edge)
	later.subscribe([]string{"QUIET-USD", "PUB-USD"})
	later.endsOn("QUIET-USD", quiet)
	moved := set(t, home.Connect(), "QUIET-USD", "8.50") // while eu cannot hear of it

	eu.Link.Mend()
	natstest.Eventually(t, patience, func() bool { return !clients["latest in eu"].isStale() }, "clients are told that prices are fresh again")
	newest := pub.goesOn()
	for _, c := range clients {
		c.reaches("PUB-USD", newest.Position)
		c.endsOn("QUIET-USD", moved)
	}
	late.endsOn("QUIET-USD", moved)
	later.endsOn("QUIET-USD", moved)
	last := pub.last()
	for name, c := range clients {
		c.endsOn("PUB-USD", last)
		if n, _ := c.connection(); n != 1 {
			t.Errorf("%s was connected %d times", name, n)
		}
	}
	for _, name := range []string{"every in home", "every in us", "every in eu"} {
		clients[name].complete("PUB-USD", pub.accepted())
	}
	for _, r := range []*stack.Region{home, us} {
		clients["every in "+r.Name].undisturbed()
	}
}

// A region's mirror of TICKS does not go on as before when home's stream is another one, whose messages have numbers that the
// mirror has seen: after it was lost, and after it was put back to an older state.
func TestHomeLosesItsTicks(t *testing.T) {
	t.Parallel()
	const quiet = "QUIET-USD"
	regions := stack.StartRegions(t, programs, "eu")
	home, eu := regions[0], regions[1]
	pub := publishOn(t, home.Connect(), "PUB-USD")
	isMirrored(t, eu, quiet, set(t, home.Connect(), quiet, "1.50"))
	pub.goesOn()
	isMirrored(t, eu, "PUB-USD", pub.last())
	c := dial(t, "client", tickfan.Compact, eu.Edge)
	c.subscribe([]string{quiet, "PUB-USD"})

	js, err := jetstream.New(home.Connect())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := js.DeleteStream(ctx, subject.StreamTicks); err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, patience, func() bool { _, err := js.Stream(ctx, subject.StreamTicks); return err == nil }, "ingest has made TICKS again")
	moved := set(t, home.Connect(), quiet, "2.50")
	isMirrored(t, eu, quiet, moved)
	c.endsOn(quiet, moved)

	home.Server.Kill()
	kept := t.TempDir()
	if err := os.CopyFS(kept, os.DirFS(home.Server.Store())); err != nil {
		t.Fatal(err)
	}
	home.Server.Start()
	pub = publishOn(t, home.Connect(), "PUB-USD")
	isMirrored(t, eu, "PUB-USD", pub.last())
	home.Server.Kill()
	if err := os.RemoveAll(home.Server.Store()); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(home.Server.Store(), os.DirFS(kept)); err != nil {
		t.Fatal(err)
	}
	home.Server.Start()
	moved = set(t, home.Connect(), quiet, "3.50")
	isMirrored(t, eu, quiet, moved)
	c.endsOn(quiet, moved)

	eu.Link.Cut()
	eu.Router.Kill() // the next one has only the mirror
	eu.Router.Start()
	eu.Router.AwaitReady()
	late := dial(t, "late", tickfan.JSON, startEdge(eu, "edge-b"))
	late.subscribe([]string{quiet})
	late.endsOn(quiet, moved)
}

// isMirrored waits until a region's own TICKS has a price as its symbol's last.
func isMirrored(t *testing.T, r *stack.Region, symbol string, s sent) {
	t.Helper()
	js, err := jetstream.New(r.Connect())
	if err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, patience, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		stream, err := js.Stream(ctx, subject.StreamTicks)
		if err != nil {
			return false
		}
		m, err := stream.GetLastMsgForSubject(ctx, subject.Ticks(subject.Symbol(symbol)))
		if err != nil {
			return false
		}
		h, err := tick.DecodeHead(m.Data)
		return err == nil && h.Epoch == s.Epoch && h.Seq == s.Seq
	}, "the mirror of %s has %s at %v", r.Name, symbol, s.Position)
}

func startEdge(r *stack.Region, name string) *stack.Service {
	e := r.NewEdge(name)
	e.Start()
	e.AwaitReady()
	return e
}

// The link lets through what a region needs, and nothing by which one could change another.
func TestLinkPermissions(t *testing.T) {
	t.Parallel()
	regions := stack.StartRegions(t, programs, "eu", "us")
	home, eu, us := regions[0].Connect(), regions[1].Connect(), regions[2].Connect()
	for _, c := range []struct {
		subject  string
		from, to *nats.Conn
		comes    bool
	}{
		{"ingest.BTC-USD", eu, home, true},
		{"ticks.BTC-USD", home, eu, true},
		{"beat", home, eu, true},
		{"ticks.BTC-USD", eu, home, false},
		{"ticks.BTC-USD", eu, us, false},
		{"beat", eu, home, false},
		{"beat", eu, us, false},
		{"ingest.BTC-USD", eu, us, false},
		{"fanout.us.edge-ab12cd-0", eu, us, false},
		{"fanout.home.edge-ab12cd-0", eu, home, false},
		{"fanout.eu.edge-ab12cd-0", home, eu, false},
		{"interest.us", eu, us, false},
		{"interest.home", eu, home, false},
		{"interest.eu", home, eu, false},
		{"registry.us.interest", eu, us, false},
		{"registry.home.interest", eu, home, false},
		{"registry.home.drain.edge-ab12cd", eu, home, false},
		{"router.home.newest", eu, home, false},
		{"router.home.beat", eu, home, false},
		{"router.us.newest", eu, us, false},
		{"$KV.INTEREST.edge-ab12cd-0.1", eu, home, false},
		{"$KV.LEADER.lease", eu, home, false},
		{"$KV.EDGES.edge-ab12cd", eu, us, false},
		{"$SRV.PING", eu, home, false},
		{"$JS.API.STREAM.DELETE.TICKS", eu, home, false},
		{"anything", eu, home, false},
		{"anything", home, eu, false},
	} {
		sub, err := c.to.SubscribeSync(c.subject)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.to.Flush(); err != nil {
			t.Fatal(err)
		}
		came := func(within time.Duration) bool {
			for deadline := time.Now().Add(within); time.Now().Before(deadline); {
				m := nats.NewMsg(c.subject)
				m.Header.Set("Probe", c.subject)
				if err := c.from.PublishMsg(m); err != nil {
					t.Fatal(err)
				}
				for {
					got, err := sub.NextMsg(50 * time.Millisecond)
					if err != nil {
						break
					}
					if got.Header.Get("Probe") != "" { // beats and ticks of the region's own come as well
						return true
					}
				}
			}
			return false
		}
		within := 300 * time.Millisecond
		if c.comes {
			within = patience
		}
		if got := came(within); got != c.comes {
			t.Errorf("%s from %s to %s: comes through %t, want %t", c.subject, c.from.ConnectedServerName(), c.to.ConnectedServerName(), got, c.comes)
		}
		_ = sub.Unsubscribe()
	}
	// Other regions' JetStream cannot be reached, nor what would change home's.
	for _, s := range []string{"$JS.us.API.INFO", "$JS.us.API.STREAM.INFO.TICKS", "$JS.us.API.STREAM.PURGE.KV_INTEREST", "$JS.home.API.STREAM.PURGE.TICKS",
		"$JS.home.API.STREAM.DELETE.TICKS", "$JS.home.API.STREAM.INFO.KV_INTEREST", "$JS.home.API.STREAM.MSG.DELETE.TICKS", "$JS.home.API.CONSUMER.CREATE.KV_LEADER"} {
		if m, err := eu.Request(s, nil, 500*time.Millisecond); err == nil {
			t.Errorf("%s from eu is answered: %s", s, m.Data)
		}
	}
	if _, err := eu.Request("$JS.home.API.STREAM.INFO.TICKS", nil, patience); err != nil {
		t.Errorf("TICKS cannot be seen from eu: %v", err)
	}
}
