package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/tickfan/tickfan/libs/natstest"
	tickfan "github.com/tickfan/tickfan/libs/sdk/go"
)

const (
	// A dead edge's interest must be gone within its lease and 11 s.
	leaseTime = 15 * time.Second
	goneTime  = leaseTime + 11*time.Second

	// slack is what a busy machine may add to that.
	slack = 10 * time.Second
)

// TestEdgeKilled: the clients of a killed edge go on at another, in mode every with each tick that they missed meanwhile;
// clients there notice nothing; the dead edge's interest goes from KV and from the router.
func TestEdgeKilled(t *testing.T) {
	t.Parallel()
	s := start(t)
	a, b := s.Edges[0], s.Edges[1]
	const symbol = "PUB-USD"
	pub := publish(t, s, symbol)

	every := []*client{dial(t, "every, msgpack", tickfan.MessagePack, a, b), dial(t, "every, json", tickfan.JSON, a, b)}
	latest := []*client{dial(t, "latest, msgpack", tickfan.MessagePack, a, b), dial(t, "latest, json", tickfan.JSON, a, b)}
	bystander := dial(t, "bystander", tickfan.MessagePack, b)
	for _, c := range every {
		c.subscribe([]string{symbol}, tickfan.Every())
	}
	for _, c := range latest {
		c.subscribe([]string{symbol})
	}
	bystander.subscribe([]string{symbol}, tickfan.Every())
	moving := append(every, latest...)
	for _, c := range append(moving, bystander) {
		c.reaches(symbol, pub.goesOn().Position)
	}

	region := newRegion(t, s.Connect())
	natstest.Eventually(t, patience, func() bool {
		return len(region.interest("edge-a-")) > 0 && len(region.edges("edge-a-")) == 1 && len(region.edges("edge-b-")) == 1
	}, "both edges are in KV, and what the first one wants")
	buckets := func() int { return int(s.Router.Metric("tickfan_router_interest_buckets")) }
	natstest.Eventually(t, patience, func() bool { return buckets() == len(region.interest("")) }, "the router knows all interest")

	a.Kill()
	killed := time.Now()

	for _, c := range moving {
		natstest.Eventually(t, patience, func() bool { n, _ := c.connection(); return n >= 2 }, "%s is connected again", c.name)
		if _, url := c.connection(); !strings.Contains(url, strings.TrimPrefix(b.URL(), "http://")) {
			t.Errorf("%s went to %s", c.name, url)
		}
		c.reaches(symbol, pub.goesOn().Position)
	}
	newest := pub.last()
	for _, c := range append(moving, bystander) {
		c.endsOn(symbol, newest)
	}
	for _, c := range append(every, bystander) {
		n := c.complete(symbol, pub.accepted())
		t.Logf("%s received %d of %d prices", c.name, n, len(pub.accepted()))
		if gaps := c.history(symbol).gaps(); len(gaps) > 0 {
			t.Errorf("%s is told of gaps, though the history has all ticks: %+v", c.name, gaps)
		}
	}
	bystander.undisturbed()

	within := time.Until(killed.Add(goneTime + slack))
	natstest.Eventually(t, within, func() bool { return len(region.edges("edge-a-")) == 0 }, "the dead edge's lease is gone")
	t.Logf("lease gone %s after the death", time.Since(killed).Round(time.Second/10))
	within = time.Until(killed.Add(goneTime + slack))
	natstest.Eventually(t, within, func() bool {
		return len(region.interest("edge-a-")) == 0 && buckets() == len(region.interest("edge-b-"))
	}, "the dead edge's interest is gone from KV and from the router")
	t.Logf("interest gone %s after the death, want %s", time.Since(killed).Round(time.Second/10), goneTime)

	newest = set(t, pub.nc, symbol, "1.5")
	for _, c := range append(moving, bystander) {
		c.endsOn(symbol, newest)
	}
}
