package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/libs/newest"
	"github.com/tickfan/tickfan/libs/ops"
	"github.com/tickfan/tickfan/libs/quiet"
	"github.com/tickfan/tickfan/services/router/internal/route"
)

const (
	readAgain   = 250 * time.Millisecond // after a read of TICKS that failed
	repairEvery = time.Second            // least time between two repairs: each reads the newest tick of every symbol
	logEvery    = 10 * time.Second       // between two lines about reads that fail
	homeTime    = 2 * time.Second        // how long home may take before its mirror is read
	mirrorAgain = 5 * time.Second        // between two reads of the mirror, until home answers
)

// Reasons for a repair.
const (
	reconnect = "reconnect" // what was published while the connection was cut never came
	dropped   = "dropped"   // ticks came faster than they were taken
	missed    = "missed"    // beats count more ticks than came
	mirrored  = "mirrored"  // the last read was of a mirror, which lags behind
)

var errCut = errors.New("connection to NATS was cut")

// filler reads newest ticks from TICKS into the loop: once at the start, then whenever some may have been missed. It
// does not belong to the loop, which goes on meanwhile.
type filler struct {
	js      jetstream.JetStream // set before the first fill, and so is home
	home    jetstream.JetStream // of another region, which js has a mirror of; nil: js is home
	log     *slog.Logger
	metrics *metrics
	asked   chan string

	condition *ops.Condition // met once the newest ticks have been read, lost while they should be again and cannot

	lags bool // the last read was of a mirror

	mu      sync.Mutex
	abandon context.CancelFunc // ends the read under way, if any
}

func newFiller(log *slog.Logger, m *metrics, condition *ops.Condition) *filler {
	return &filler{log: log, metrics: m, asked: make(chan string, 1), condition: condition}
}

// ask asks for a repair and never blocks. What is asked before a repair begins is mended by that one.
func (f *filler) ask(reason string) {
	select {
	case f.asked <- reason:
	default:
	}
}

// reconnected asks for a repair and ends a read that the cut has left without answers. It does not block.
func (f *filler) reconnected() {
	f.ask(reconnect)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.abandon != nil {
		f.abandon()
	}
}

// run repairs when asked, until ctx ends.
func (f *filler) run(ctx context.Context, loop *route.Loop) {
	for {
		var again <-chan time.Time
		if f.lags {
			again = time.After(mirrorAgain)
		}
		select {
		case <-ctx.Done():
			return
		case <-again:
			f.ask(mirrored)
		case reason := <-f.asked:
			began := time.Now()
			if err := f.fill(ctx, loop); err != nil {
				return
			}
			f.metrics.repaired(ctx, reason)
			f.log.Info("newest ticks read again", "reason", reason, "took", time.Since(began))
			if err := pause(ctx, repairEvery-time.Since(began)); err != nil {
				return
			}
		}
	}
}

// fill reads until all newest ticks are in the loop; its only error is that ctx, or the loop, has ended.
func (f *filler) fill(ctx context.Context, loop *route.Loop) error {
	faults := quiet.New(f.log, logEvery)
	for {
		ticks, err := f.read(ctx)
		if err == nil {
			if err = loop.Fill(ctx, ticks); err == nil {
				f.condition.Set(nil)
			}
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		level := slog.LevelWarn
		if errors.Is(err, newest.ErrNoStream) { // ordinary where the router started before ingest
			err, level = newest.ErrNoStream, slog.LevelInfo
		}
		f.condition.Lost(err)
		faults.Log(level, "", "newest ticks not read, trying again", "error", err)
		if err := pause(ctx, readAgain); err != nil {
			return err
		}
	}
}

// read is one attempt.
func (f *filler) read(ctx context.Context) ([]newest.Tick, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	f.mu.Lock()
	f.abandon = func() { cancel(errCut) }
	f.mu.Unlock()
	f.lags = false
	if f.home == nil {
		return newest.Read(ctx, f.js)
	}
	atHome, cancelHome := context.WithTimeout(ctx, homeTime)
	defer cancelHome()
	ticks, err := newest.Read(atHome, f.home)
	if err == nil || ctx.Err() != nil {
		return ticks, err
	}
	if ticks, mirrorErr := newest.Read(ctx, f.js); mirrorErr == nil {
		f.lags = true
		return ticks, nil
	}
	return nil, fmt.Errorf("at home: %w", err)
}

// pause waits, or returns ctx's cause.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
