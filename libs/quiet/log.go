package quiet

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Log writes at most one line of a kind in a while. Its methods may be called from any goroutine.
type Log struct {
	log   *slog.Logger
	every time.Duration

	mu    sync.Mutex
	kinds map[string]*kind
}

type kind struct {
	last       time.Time // of the last line
	suppressed int       // since then
}

// New makes a Log; every is the least time between two lines of one kind.
func New(log *slog.Logger, every time.Duration) *Log {
	return &Log{log: log, every: every, kinds: map[string]*kind{}}
}

// Warn is Log at level WARN.
func (l *Log) Warn(kind, msg string, attrs ...any) { l.Log(slog.LevelWarn, kind, msg, attrs...) }

// Error is Log at level ERROR.
func (l *Log) Error(kind, msg string, attrs ...any) { l.Log(slog.LevelError, kind, msg, attrs...) }

// Log writes the line, unless one of that kind was written a short while ago. The kinds are few and fixed: each is kept.
// A line that comes after others that were not written has their number as suppressed.
func (l *Log) Log(level slog.Level, kind, msg string, attrs ...any) {
	suppressed, ok := l.allow(kind)
	if !ok {
		return
	}
	if suppressed > 0 {
		attrs = append(attrs, "suppressed", suppressed)
	}
	l.log.Log(context.Background(), level, msg, attrs...)
}

// Over says that a trouble of that kind has passed: the next one is written at once. It tells whether one had come.
func (l *Log) Over(kind string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, came := l.kinds[kind]
	delete(l.kinds, kind)
	return came
}

func (l *Log) allow(name string) (suppressed int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	k, known := l.kinds[name]
	if !known {
		k = &kind{}
		l.kinds[name] = k
	}
	if known && now.Sub(k.last) < l.every {
		k.suppressed++
		return 0, false
	}
	suppressed = k.suppressed
	k.last, k.suppressed = now, 0
	return suppressed, true
}
