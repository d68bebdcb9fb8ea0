package sim

import (
	"fmt"
	"strings"
)

// figure is one that a region counts up, or has at the moment.
type figure int

const (
	ticks          figure = iota // published
	batches                      // that came to edges
	itemsWanted                  // that came, of symbols that a client of the bucket wants
	itemsLingering               // of symbols that the bucket still asks for
	itemsUseless                 // of others
	itemsDoubled                 // that were not newer than what had come: second copies
	holes                        // batches that never came
	messages                     // that came to edges by NATS, of any kind
	bytes                        // in them, without NATS's protocol
	requests                     // changes of interest that the registry was sent
	repeats                      // of those, sent again for want of an answer
	answers                      // to them
	newest                       // questions to routers
	writes                       // into KV INTEREST
	leases                       // into KV EDGES
	clientChanges                // symbols that clients began or ended to want
	routerCPU                    // seconds, of all routers
	natsCPU
	registryCPU
	homeCPU      // of home's nats-server, where that is another
	linkMessages // from home
	linkBytes
	idleCPU // of the machine
	seconds
	figures
)

var figureNames = [figures]string{
	"ticks", "batches", "items wanted", "items lingering", "items useless", "items doubled", "holes", "messages", "bytes",
	"requests", "repeats", "answers", "newest", "writes", "leases", "client changes", "router cpu", "nats cpu", "registry cpu",
	"home nats cpu", "link messages", "link bytes", "idle cpu", "seconds",
}

// sample is all figures at one moment, or their growth between two.
type sample [figures]float64

func (s sample) since(before sample) (d sample) {
	for i := range s {
		d[i] = s[i] - before[i]
	}
	return d
}

// rate is how much of it there is in a second.
func (s *sample) rate(f figure) float64 { return s[f] / s[seconds] }

// items are those that were not second copies.
func (s *sample) items() float64 { return s[itemsWanted] + s[itemsLingering] + s[itemsUseless] }

// allItems are all that were sent.
func (s *sample) allItems() float64 { return s.items() + s[itemsDoubled] }

// useful is the share of items that were wanted or lingering.
func (s *sample) useful() float64 {
	if s.items() == 0 {
		return 1
	}
	return 1 - s[itemsUseless]/s.items()
}

// String names what is not 0.
func (s sample) String() string {
	var b strings.Builder
	for i, v := range s {
		if v != 0 {
			fmt.Fprintf(&b, " %s=%.6g", figureNames[i], v)
		}
	}
	return b.String()
}

// named is the sample for JSON.
func (s *sample) named() map[string]float64 {
	m := map[string]float64{}
	for i, v := range s {
		m[figureNames[i]] = v
	}
	return m
}
