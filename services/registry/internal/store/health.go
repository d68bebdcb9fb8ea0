package store

import (
	"sync"
	"time"
)

// Health remembers when KV last failed this process. Its methods may be called from any goroutine.
type Health struct {
	mu     sync.Mutex
	failed time.Time
}

// Fail says that an operation failed just now, or that some may have been missed.
func (h *Health) Fail() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failed = time.Now()
}

// GoodSince says whether nothing failed from t on.
func (h *Health) GoodSince(t time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.failed.Before(t)
}
