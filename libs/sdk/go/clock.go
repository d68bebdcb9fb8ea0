package tickfan

import (
	"slices"
	"sync"
	"time"
)

// clock compares the edge's clock with ours. Of the last few pings the one with the shortest round trip counts: a
// longer one waited somewhere, nobody knows on which way.
type clock struct {
	mu      sync.Mutex
	samples []sample
	old     bool // the samples are of an earlier connection, which may be another edge's
}

type sample struct{ offset, rtt time.Duration }

const clockSamples = 8

// add takes the answer to a ping: sent and received by our clock, server by the edge's.
func (c *clock) add(sent, received, server time.Time) {
	rtt := received.Sub(sent)
	if rtt < 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.old:
		c.samples, c.old = c.samples[:0], false
	case len(c.samples) == clockSamples:
		c.samples = slices.Delete(c.samples, 0, 1)
	}
	c.samples = append(c.samples, sample{offset: server.Sub(sent.Add(rtt / 2)), rtt: rtt})
}

// reconnected makes the next sample replace all earlier ones. Until then they stand.
func (c *clock) reconnected() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.old = true
}

func (c *clock) best() sample {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.samples) == 0 {
		return sample{}
	}
	return slices.MinFunc(c.samples, func(a, b sample) int { return int(a.rtt - b.rtt) })
}
