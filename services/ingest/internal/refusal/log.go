package refusal

import (
	"log/slog"
	"sync"
	"time"

	"github.com/tickfan/tickfan/libs/quiet"
	"github.com/tickfan/tickfan/proto/code"
)

// every is the least time between two warnings of one code.
const every = 5 * time.Second

// maxWhere cuts a subject that was made to fill the log.
const maxWhere = 80

// Log counts and warns. Its methods may be called from any goroutine.
type Log struct {
	log *quiet.Log

	mu    sync.Mutex
	codes map[code.Code]int64 // they are a fixed list, so this is bounded
}

// New returns an empty Log.
func New(log *slog.Logger) *Log {
	return &Log{log: quiet.New(log, every), codes: map[code.Code]int64{}}
}

// Refuse counts a refusal. where is the subject that the price came on, or its source and symbol.
func (l *Log) Refuse(where string, err error) {
	why := code.Of(err)
	l.mu.Lock()
	l.codes[why.Code]++
	l.mu.Unlock()

	if len(where) > maxWhere {
		where = where[:maxWhere] + "…"
	}
	said := why.Message
	if why.Code == code.Internal {
		said = err.Error() // the caller is not told, so the log must be
	}
	l.log.Warn(string(why.Code), "price refused", "subject", where, "code", why.Code, "error", said)
}

// Counts calls f with the number of refusals of each code seen so far.
func (l *Log) Counts(f func(code.Code, int64)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c, n := range l.codes {
		f(c, n)
	}
}
