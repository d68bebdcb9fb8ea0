package coinbase

import (
	"math/rand/v2"
	"time"
)

// Times between two connections. The exchange takes 8 a second from one address.
const (
	backoffMin   = 250 * time.Millisecond
	backoffStart = time.Second
	backoffMax   = 30 * time.Second

	// steady is how long a connection must have stood for its end to be a first fault again.
	steady = 10 * time.Second
)

// backoff is full jitter: any time up to a bound that doubles, so that many clients do not come back together.
type backoff struct{ faults int }

func (b *backoff) next() time.Duration {
	bound := backoffMax
	if b.faults < 5 {
		bound = min(backoffStart<<b.faults, backoffMax)
	}
	b.faults++
	return backoffMin + rand.N(bound-backoffMin)
}

func (b *backoff) reset() { b.faults = 0 }
