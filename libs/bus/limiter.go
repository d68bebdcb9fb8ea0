package bus

import (
	"sync"
	"time"
)

// limiter lets one log line per kind through in a while and counts the others. The kinds
// are few and fixed.
type limiter struct {
	every time.Duration
	now   func() time.Time

	mu    sync.Mutex
	kinds map[string]*kindState
}

type kindState struct {
	last       time.Time // of the last line let through
	suppressed int       // since then
}

func newLimiter(every time.Duration, now func() time.Time) *limiter {
	return &limiter{every: every, now: now, kinds: map[string]*kindState{}}
}

// allow says whether a line of that kind may be written, and how many were not since the
// last one.
func (l *limiter) allow(kind string) (suppressed int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	k, known := l.kinds[kind]
	if !known {
		k = &kindState{}
		l.kinds[kind] = k
	}
	if known && now.Sub(k.last) < l.every {
		k.suppressed++
		return 0, false
	}
	suppressed = k.suppressed
	k.last, k.suppressed = now, 0
	return suppressed, true
}
