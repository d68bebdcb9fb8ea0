package api

import (
	"sync"
	"time"
)

// limiter lets one log line through in a while and counts the others.
type limiter struct {
	every time.Duration

	mu         sync.Mutex
	last       time.Time
	suppressed int // since the last line
}

func (l *limiter) allow() (suppressed int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.last) < l.every {
		l.suppressed++
		return 0, false
	}
	suppressed, l.suppressed, l.last = l.suppressed, 0, time.Now()
	return suppressed, true
}
