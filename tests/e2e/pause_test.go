package e2e

import (
	"errors"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tickfan/tickfan/libs/natstest"
	tickfan "github.com/tickfan/tickfan/libs/sdk/go"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/tests/stack"
)

// TestPaused: a router, and then an edge, stands still until the others have given it up; of what was published meanwhile
// not all comes to it. When it goes on, all clients come to the newest price, none sees one go backwards, and in mode every none is
// missing untold.
func TestPaused(t *testing.T) {
	t.Parallel()
	s := start(t)
	nc := s.Connect()
	const symbol, quiet = "PUB-USD", "QUIET-USD"
	pub := publish(t, s, symbol)
	set(t, nc, quiet, "1")
	var every, latest []*client
	for _, e := range s.Edges {
		every = append(every, dial(t, "every at "+e.Name(), tickfan.Compact, e))
		latest = append(latest, dial(t, "latest at "+e.Name(), tickfan.JSON, e))
	}
	all := slices.Concat(every, latest)
	for _, c := range every {
		c.subscribe([]string{symbol, quiet}, tickfan.Every())
	}
	for _, c := range latest {
		c.subscribe([]string{symbol, quiet})
	}
	for _, c := range all {
		c.reaches(symbol, pub.goesOn().Position)
	}
	for _, p := range []struct {
		*stack.Service
		gone  func() bool
		price string
	}{
		{s.Router, func() bool {
			_, err := nc.Request(subject.RouterNewest("local"), nil, time.Second)
			return errors.Is(err, nats.ErrNoResponders)
		}, "2"},
		{s.Edges[0], func() bool { return s.Registry.Metric("tickfan_registry_leases") == 1 }, "3"},
	} {
		p.Signal(syscall.SIGSTOP)
		natstest.Eventually(t, patience, p.gone, "%s is given up", p.Name())
		moved := set(t, nc, quiet, p.price)
		p.Signal(syscall.SIGCONT)
		newest := pub.goesOn()
		for _, c := range all {
			c.reaches(symbol, newest.Position)
			c.endsOn(quiet, moved)
		}
	}
	last := pub.last()
	for _, c := range all {
		c.endsOn(symbol, last)
	}
	for _, c := range every {
		n := c.complete(symbol, pub.accepted())
		t.Logf("%s received %d of %d prices, %d gaps", c.name, n, len(pub.accepted()), len(c.history(symbol).gaps()))
	}
}
