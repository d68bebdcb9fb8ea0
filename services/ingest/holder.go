package ingest

import (
	"context"
	"fmt"
	"time"

	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
	"github.com/tickfan/tickfan/services/ingest/internal/store"
)

// Both are tried again. prepareTimeout is for reading TICKS once, ensureTimeout for each look at the stream before that: a
// question that a server's death has swallowed must not cost more.
const (
	prepareTimeout = 30 * time.Second
	ensureTimeout  = 2 * time.Second
)

// Won has what came lately held until it is stamped. It is one of the lease's calls (lease.Holder), as are the four below.
func (s *service) Won() { s.held.Won(time.Now()) }

// Prepare makes TICKS ready and reads where each symbol stands.
func (s *service) Prepare(ctx context.Context) (highest uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, prepareTimeout)
	defer cancel()
	next, err := s.ensureTicks(ctx, ensureTimeout)
	if err != nil {
		return 0, err
	}
	s.stored.From(next)
	last, err := store.ReadLasts(ctx, s.js)
	if err != nil {
		return 0, err
	}
	if last.Bad > 0 {
		s.deps.Log.Warn("TICKS holds messages that are no ticks; who publishes on ticks.> besides ingest?", "messages", last.Bad)
	}
	s.known = make(map[subject.Symbol]tick.Position, len(last.Symbols))
	now := time.Now()
	for sym, l := range last.Symbols {
		s.known[sym] = l.Position
		if s.generator != nil {
			s.generator.Continue(sym, l.Price, now)
		}
	}
	highest = last.Epoch
	// What the leader before has stamped and TICKS did not take, full or away as it was, is nobody's to repair from now on: who
	// missed it once would miss it for good.
	for _, t := range s.held.Newer(s.known) {
		t.Again = true
		if err := s.ticks.Publish(subject.Ticks(t.Symbol), t.Append(nil)); err != nil {
			return 0, fmt.Errorf("publish a tick again that %s lacks: %w", subject.StreamTicks, err)
		}
		s.counts.again.Add(1)
		s.known[t.Symbol] = t.Position
		highest = max(highest, t.Epoch)
	}
	return highest, nil
}

// Begin starts to stamp, also what a leader before had not come to.
func (s *service) Begin(epoch uint64) {
	s.counts.takeovers.Add(1)
	s.stamper.Begin(epoch, s.known)
	s.known = nil
	s.once.Do(func() { close(s.first) })
	s.mayStamp()
}

// mayStamp wakes takeOver.
func (s *service) mayStamp() {
	select {
	case s.may <- struct{}{}:
	default:
	}
}

// takeOver stamps what a leader before had not come to, and what of it a pause of this process kept it from stamping. It
// does so beside the lease: who asked for his price is answered when it is flushed, which may take longer than a lease
// lasts.
func (s *service) takeOver(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.may:
			if n := s.held.TakeOver(); n > 0 {
				s.deps.Log.Info("stamped prices that had come before and that nobody had stamped", "prices", n)
			}
		}
	}
}

// active tells whether this instance stamps.
func (s *service) active() bool { return s.stamper.Epoch() != 0 }

// Keep lets the stamper go on.
func (s *service) Keep(until time.Time) {
	s.stamper.Keep(until)
	s.mayStamp()
}

// End stops it.
func (s *service) End() { s.stamper.End() }

func (s *service) ensureTicks(ctx context.Context, timeout time.Duration) (next uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return store.Ensure(ctx, s.js, store.Config{History: s.cfg.History, Replicas: s.cfg.Replicas}, s.deps.Log)
}

// keepTicks makes TICKS again if it goes missing while this instance stamps.
func (s *service) keepTicks(ctx context.Context) error {
	t := time.NewTicker(ensureEvery)
	defer t.Stop()
	for failed := false; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		if s.stamper.Epoch() == 0 {
			continue
		}
		_, err := s.ensureTicks(ctx, ensureEvery)
		if err != nil && !failed && ctx.Err() == nil {
			s.deps.Log.Warn("TICKS not confirmed; the live feed goes on", "error", err)
		}
		failed = err != nil
	}
}
