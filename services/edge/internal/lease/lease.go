package lease

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
)

const (
	every   = 3 * time.Second
	timeout = 300 * time.Millisecond // for one try; a paused registry keeps getting its share of requests
	asks    = 3                      // tries where somebody waits for the answer
	quiet   = 2 * time.Second        // how long it may fail before the log says so: services start in any order
)

// Options of a lease.
type Options struct {
	NATS   *nats.Conn
	Region subject.Region
	Log    *slog.Logger
	State  func() control.Heartbeat // what the edge says of itself
	Lost   func(subject.Bucket)     // the registry has lost this bucket's interest
	Drain  func()                   // the registry tells the edge to
	Ready  func(err error)          // nil once the lease stands, else why it does not
}

// Lease is one edge's.
type Lease struct {
	o      Options
	others atomic.Int64
}

// New makes a lease. Run must follow, then Release.
func New(o Options) *Lease { return &Lease{o: o} }

// Others is how many other edges took clients when the registry last answered.
func (l *Lease) Others() int { return int(l.others.Load()) }

// Ask has the registry answer now: what Others tells is as old as the last heartbeat. Without an answer that stands.
func (l *Lease) Ask(ctx context.Context) {
	for range asks {
		if l.beat(ctx, l.o.State()) == nil {
			return
		}
	}
}

// Run renews the lease until ctx ends.
func (l *Lease) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var failing time.Time // since when
	warned := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		err := l.beat(ctx, l.o.State())
		switch {
		case ctx.Err() != nil:
		case err != nil:
			if failing.IsZero() {
				failing = time.Now()
			}
			if !warned && time.Since(failing) > quiet {
				warned = true
				l.o.Log.Warn("registry does not renew this edge's lease; trying on", "error", err)
			}
			l.o.Ready(err)
			timer.Reset(timeout)
		default:
			if warned {
				l.o.Log.Info("registry renews this edge's lease again")
			}
			failing, warned = time.Time{}, false
			l.o.Ready(nil)
			timer.Reset(every)
		}
	}
}

// Release tells the registry that this edge stops, so that nobody has to wait for the lease to run out.
func (l *Lease) Release() {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	h := l.o.State()
	h.Stopping = true
	if err := l.beat(ctx, h); err != nil {
		// No warning: where all stop together nobody is left to hear it, and nobody has to do anything elsewhere.
		l.o.Log.Info("registry did not hear that this edge stops; its lease runs out by itself", "error", err)
	}
}

func (l *Lease) beat(ctx context.Context, h control.Heartbeat) error {
	p, err := json.Marshal(&h)
	if err != nil {
		return fmt.Errorf("encode heartbeat: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	m, err := l.o.NATS.RequestWithContext(ctx, subject.Registry(l.o.Region, subject.EndpointHeartbeat), p)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf("no registry listens in region %s: is bin/registry running?", l.o.Region)
	case err != nil:
		return fmt.Errorf("send heartbeat: %w", err)
	}
	var a control.HeartbeatAnswer
	if err := json.Unmarshal(m.Data, &a); err != nil {
		return fmt.Errorf("read heartbeat's answer: %w", err)
	}
	if a.Error != nil {
		return fmt.Errorf("registry refuses the heartbeat: %w", a.Error)
	}
	l.others.Store(int64(a.Others))
	for _, b := range a.Lost {
		l.o.Lost(b)
	}
	if a.Drain {
		l.o.Drain()
	}
	return nil
}
