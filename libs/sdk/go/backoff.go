package tickfan

import (
	"math/rand/v2"
	"time"
)

// Reconnecting: the wait before attempt n is drawn evenly from 0 to base*2^n, at most longest ("full jitter"), so that
// the clients of a dead edge do not come back together.
const (
	backoffBase    = 250 * time.Millisecond
	backoffLongest = 10 * time.Second
)

// backoff is the state of reconnecting; the zero value is the first attempt.
type backoff struct{ attempt int }

func (b *backoff) next() time.Duration {
	window := backoffLongest
	if b.attempt < 6 { // 250 ms << 6 is above the longest
		window = min(window, backoffBase<<b.attempt)
		b.attempt++
	}
	return rand.N(window + 1)
}

// lasted says how long the connection held that was lost now. One that is closed as soon as it is made must not
// begin at the base again each time.
func (b *backoff) lasted(d time.Duration) {
	if d >= backoffLongest {
		b.attempt = 0
	}
}
