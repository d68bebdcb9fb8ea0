package chaos

import (
	"flag"
	"testing"
	"time"
)

var regressionsFlag = flag.Bool("regressions", false, "deal the blows again that have found something")

// regressions are runs that found something once. Blows that are added change what a seed draws, unless only leaves them
// out.
var regressions = []struct {
	seed   uint64
	length time.Duration
	only   string
	found  string
}{
	{1, 20 * time.Second, "far|fill", "a leader died while JetStream was away, and what it had stamped last never came to TICKS, nor to a router that had missed it"},
	{2, time.Second, "fill all disks", "the same"},
	{11, time.Minute, "stall a server's ways|kill the server that leads INTEREST", "two leaders, each before it heard of the other"},
	{12, time.Minute, "cut a server off from the others|kill the leading ingest$", "an ingest took its own lost lease, as a lagging replica showed it, for a new one, and waited 30 s for one answer"},
	{13, 20 * time.Second, "pause a server", "a price that lay before the paused server came after newer ones, which the publisher had sent by another"},
}

func TestRegressions(t *testing.T) {
	if !*regressionsFlag {
		t.Skip("breaks nothing without -regressions; see make chaos-again")
	}
	for _, r := range regressions {
		t.Run(r.only, func(t *testing.T) {
			if out, err := chaos(t, r.seed, r.length, r.only); err != nil {
				t.Errorf("seed %d, once: %s\n%v:\n%s", r.seed, r.found, err, out)
			}
		})
	}
}
