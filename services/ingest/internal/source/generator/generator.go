package generator

import (
	"context"
	"sync"
	"time"

	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

// Quiet is how long a symbol is left alone after a price for it came from outside, so that a price published by hand
// is seen.
const Quiet = 30 * time.Second

// lateness is how far behind the clock ticks are still made up; after a longer pause the market goes on from now.
const lateness = time.Second

// Generator is a made-up market. Its methods may be called from any goroutine.
type Generator struct {
	// mu is held while ticks are handed out, so that none is on its way when Outside returns: it would overwrite the
	// outside price, and stand for as long as the symbol is left alone.
	mu    sync.Mutex
	pairs []*pair
	bySym map[subject.Symbol]*pair
}

// New opens the market at a time. The seed must be chosen; the same one gives the same prices.
func New(seed uint64, now time.Time) *Generator {
	g := &Generator{bySym: map[subject.Symbol]*pair{}}
	for i, s := range market {
		p := newPair(s, seed, uint64(i), now)
		g.pairs = append(g.pairs, p)
		g.bySym[s.symbol] = p
	}
	return g
}

// Symbols lists what the market trades.
func (g *Generator) Symbols() []subject.Symbol {
	all := make([]subject.Symbol, 0, len(g.pairs))
	for _, p := range g.pairs {
		all = append(all, p.symbol)
	}
	return all
}

// Outside says that a price for a symbol is about to come from elsewhere. Once it returns, the symbol is left alone
// for Quiet, and then goes on from that price.
func (g *Generator) Outside(sym subject.Symbol, price tick.Decimal, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p := g.bySym[sym]; p != nil {
		p.outside(price, now)
	}
}

// Continue lets a symbol go on from the price that it had before a restart.
func (g *Generator) Continue(sym subject.Symbol, price tick.Decimal, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p := g.bySym[sym]; p != nil {
		p.place(price, now)
	}
}

// Next is the time of the next tick.
func (g *Generator) Next() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.firstLocked().next
}

// Advance makes up the ticks until now, in the order of their times, and hands out each.
func (g *Generator) Advance(now time.Time, emit func(subject.Symbol, tick.Quote)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for {
		p := g.firstLocked()
		if p.next.After(now) {
			return
		}
		if now.Sub(p.next) > lateness {
			p.next = now
		}
		q := p.trade()
		emit(p.symbol, q)
	}
}

// firstLocked finds the pair whose tick is next. There are so few that a look at each is as fast as a heap.
func (g *Generator) firstLocked() *pair {
	first := g.pairs[0]
	for _, p := range g.pairs[1:] {
		if p.next.Before(first.next) {
			first = p
		}
	}
	return first
}

// Run hands out ticks at their times until ctx ends.
func (g *Generator) Run(ctx context.Context, now func() time.Time, emit func(subject.Symbol, tick.Quote)) error {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		g.Advance(now(), emit)
		t.Reset(g.Next().Sub(now()))
	}
}
