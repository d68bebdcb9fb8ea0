package refusal

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/tickfan/tickfan/proto/code"
)

// every is the least time between two warnings of one code.
const every = 5 * time.Second

// maxWhere cuts a subject that was made to fill the log.
const maxWhere = 80

// Log counts and warns. Its methods may be called from any goroutine.
type Log struct {
	log *slog.Logger
	now func() time.Time

	mu    sync.Mutex
	codes map[code.Code]*entry // codes are a fixed list, so this is bounded
}

type entry struct {
	count      int64
	warned     time.Time
	suppressed int64
}

// New returns an empty Log.
func New(log *slog.Logger, now func() time.Time) *Log {
	return &Log{log: log, now: now, codes: map[code.Code]*entry{}}
}

// Refuse counts a refusal. where is the subject that the price came on, or its source and symbol.
func (l *Log) Refuse(where string, err error) {
	why := code.Of(err)
	l.mu.Lock()
	e := l.codes[why.Code]
	if e == nil {
		e = &entry{}
		l.codes[why.Code] = e
	}
	e.count++
	now := l.now()
	if !e.warned.IsZero() && now.Sub(e.warned) < every {
		e.suppressed++
		l.mu.Unlock()
		return
	}
	suppressed := e.suppressed
	e.warned, e.suppressed = now, 0
	l.mu.Unlock()

	if len(where) > maxWhere {
		where = where[:maxWhere] + "…"
	}
	attrs := []any{"subject", where, "code", why.Code, "message", why.Message, "suppressed", suppressed}
	if why.Code == code.Internal && !errors.Is(err, why) {
		attrs = append(attrs, "error", err) // the caller is not told, so the log must be
	}
	l.log.Warn("price refused", attrs...)
}

// Counts calls f with the number of refusals of each code seen so far.
func (l *Log) Counts(f func(code.Code, int64)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c, e := range l.codes {
		f(c, e.count)
	}
}
