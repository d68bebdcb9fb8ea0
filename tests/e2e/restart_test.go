package e2e

import (
	"fmt"
	"slices"
	"testing"

	"github.com/tickfan/tickfan/libs/natstest"
	tickfan "github.com/tickfan/tickfan/libs/sdk/go"
)

// TestRestarts kills and starts again each process but the edges, one after the other, under running clients: each ends
// on the newest price, none sees one go backwards, in mode every none is missing untold, and what is subscribed to while
// a process is away comes, too.
func TestRestarts(t *testing.T) {
	t.Parallel()
	s := start(t)
	nc := s.Connect()
	const symbol = "PUB-USD"
	pub := publish(t, s, symbol)
	var every, latest []*client
	for i, e := range s.Edges {
		encodings := []tickfan.Encoding{tickfan.Compact, tickfan.JSON}
		every = append(every, dial(t, "every at "+e.Name(), encodings[i%2], e))
		latest = append(latest, dial(t, "latest at "+e.Name(), encodings[(i+1)%2], e))
		every[i].subscribe([]string{symbol}, tickfan.Every())
		latest[i].subscribe([]string{symbol})
	}
	all := slices.Concat(every, latest)
	for _, c := range all {
		c.reaches(symbol, pub.goesOn().Position)
	}

	for i, p := range []struct {
		name        string
		kill, start func()
		newEpoch    bool
	}{
		{"registry", s.Registry.Kill, func() { s.Registry.Start() }, false},
		{"router", s.Router.Kill, func() { s.Router.Start() }, false},
		{"ingest", s.Ingest.Kill, func() { s.Ingest.Start() }, true},
		{"nats-server", s.NATS.Kill, s.NATS.Start, false},
	} {
		before := pub.goesOn()
		added := fmt.Sprintf("ADDED%d-USD", i)
		price := set(t, nc, added, fmt.Sprintf("%d.50", i+1))

		p.kill()
		for _, c := range latest {
			c.subscribe([]string{added})
		}
		p.start()

		for _, service := range s.Services() {
			service.AwaitReady()
		}
		after := pub.goesOn()
		if grown := after.Epoch > before.Epoch; grown != p.newEpoch || after.Epoch < before.Epoch {
			t.Errorf("after the restart of %s the epoch is %d, was %d", p.name, after.Epoch, before.Epoch)
		}
		for _, c := range all {
			c.reaches(symbol, after.Position)
		}
		for _, c := range latest {
			c.endsOn(added, price)
		}
		for _, c := range every {
			// What was stamped is in TICKS, unless that is what was killed.
			if gaps := c.history(symbol).gaps(); len(gaps) > 0 && p.name != "nats-server" {
				t.Errorf("after the restart of %s %s is told of gaps: %+v", p.name, c.name, gaps)
			}
		}
		t.Logf("%s restarted", p.name)
	}

	newest := pub.last()
	for _, c := range all {
		c.endsOn(symbol, newest)
		if n, _ := c.connection(); n != 1 {
			t.Errorf("%s was connected %d times: its edge did not restart", c.name, n)
		}
	}
	for _, c := range every {
		n := c.complete(symbol, pub.accepted())
		t.Logf("%s received %d of %d prices, %d gaps", c.name, n, len(pub.accepted()), len(c.history(symbol).gaps()))
	}
	natstest.Eventually(t, patience, func() bool {
		return int(s.Registry.Metric("tickfan_registry_leases")) == len(s.Edges)
	}, "the registry knows both edges")
}
