package front

import (
	"bytes"
	"log/slog"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// faults is where net/http logs, a line for each client that fails: a handshake that TLS refuses, for one. Anybody can
// have it write as many as he likes, so there is one in ten seconds.
type faults struct {
	log   *slog.Logger
	count atomic.Int64
	lines rate.Sometimes
}

func newFaults(log *slog.Logger) *faults {
	return &faults{log: log, lines: rate.Sometimes{First: 1, Interval: logEvery}}
}

func (f *faults) Write(line []byte) (int, error) {
	f.count.Add(1)
	f.lines.Do(func() {
		f.log.Warn("clients failed", "last", string(bytes.TrimSpace(line)), "count", f.count.Swap(0))
	})
	return len(line), nil
}
