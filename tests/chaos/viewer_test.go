package chaos

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	tickfan "github.com/tickfan/tickfan/libs/sdk/go"
)

// viewer is an SDK client that judges all that it is told.
type viewer struct {
	*tickfan.Client
	name  string
	every bool
	says  func(format string, args ...any) // something must not be
	ages  *times                           // of ticks; nil: of no interest, as backs
	backs *times                           // from the loss of a connection to the next

	mu      sync.Mutex
	symbols map[string]*view
	came    []time.Time // when it was connected
	left    time.Time   // since when it is not; zero: it is
	lost    int         // connections, since somebody looked
	gaps    int         // told, since somebody looked
	stale   bool        // it was told that prices may be old
}

// view is what a viewer knows of one symbol.
type view struct {
	last   tickfan.Tick
	number uint64
	told   []tickfan.Gap // since last, mode every
	jumps  []jump
}

// jump is a step between two ticks in which whatever was accepted must have been told as missing: judged later, when the
// answers to what was published are in.
type jump struct {
	from, to tickfan.Position
	number   uint64 // at to
	told     []tickfan.Gap
}

func (w *world) startViewer(name, urls string, o tickfan.Options, every bool, symbols []string) *viewer {
	t := w.t
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), well)
	defer cancel()
	c, err := tickfan.Dial(ctx, urls, o)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	v := &viewer{Client: c, name: name, every: every, says: w.violated, ages: &w.ages, backs: &w.backs, symbols: map[string]*view{}}
	for _, s := range symbols {
		v.symbols[s] = &view{}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		v.run()
	}()
	t.Cleanup(func() {
		_ = c.Close() // always nil
		<-ended
	})
	var options []tickfan.SubscribeOption
	if every {
		options = append(options, tickfan.Every())
	}
	if _, err := c.Subscribe(ctx, symbols, options...); err != nil {
		t.Fatalf("%s: subscribe: %v", name, err)
	}
	return v
}

func (v *viewer) run() {
	for event, err := range v.Events(context.Background()) {
		if err != nil {
			if !errors.Is(err, tickfan.ErrClosed) {
				v.says("%s ended: %v", v.name, err)
			}
			return
		}
		v.mu.Lock()
		v.take(event)
		v.mu.Unlock()
	}
}

func (v *viewer) take(event tickfan.Event) {
	switch e := event.(type) {
	case tickfan.Tick:
		v.tick(e)
	case tickfan.Gap:
		v.gaps++
		if s := v.symbols[e.Symbol]; s != nil && v.every {
			s.told = append(s.told, e)
		} else {
			v.says("%s is told of a gap: %+v", v.name, e)
		}
	case tickfan.Connected:
		v.came, v.stale = append(v.came, time.Now()), false
		if !v.left.IsZero() {
			v.backs.add(time.Since(v.left))
			v.left = time.Time{}
		}
	case tickfan.Disconnected:
		if v.left.IsZero() { // it comes again with each round of attempts
			v.left = time.Now()
			v.lost++
		}
	case tickfan.Stale, tickfan.Fresh:
		_, v.stale = e.(tickfan.Stale)
	case tickfan.Unsubscribed:
		v.says("%s lost its subscriptions of %v: %v", v.name, e.Symbols, e.Err)
	}
}

func (v *viewer) tick(t tickfan.Tick) {
	s := v.symbols[t.Symbol]
	n, err := number(t.Price.String())
	if s == nil || err != nil {
		v.says("%s got %+v", v.name, t)
		return
	}
	if before := s.last; before.Symbol != "" {
		switch {
		case !t.After(before.Position):
			v.says("%s: %s goes back from %+v to %+v", v.name, t.Symbol, before.Position, t.Position)
		case n < s.number: // equal: a price that nobody answered for may be stamped by the next leader, too
			v.says("%s: %s goes from %s at %+v back to %s at %+v", v.name, t.Symbol, before.Price, before.Position, t.Price, t.Position)
		case v.every && (before.Epoch != t.Epoch || t.Seq != before.Seq+1):
			v.step(s, before.Position, t.Position, n)
		}
	}
	if s.last.Symbol != "" { // a snapshot is as old as it is
		v.ages.add(time.Since(t.Time()))
	}
	s.last, s.number, s.told = t, n, nil
}

// step judges what of a jump can be judged at once: within an epoch each seq between is a tick.
func (v *viewer) step(s *view, from, to tickfan.Position, number uint64) {
	first := from.Seq + 1
	if from.Epoch != to.Epoch {
		first = 1
	}
	for p := (tickfan.Position{Epoch: to.Epoch, Seq: first}); p.Seq < to.Seq; p.Seq++ {
		if !told(s.told, p) {
			v.says("%s: tick %+v of %s is missing untold, between %+v and %+v, told %+v", v.name, p, s.last.Symbol, from, to, s.told)
			break
		}
	}
	if from.Epoch != to.Epoch {
		s.jumps = append(s.jumps, jump{from, to, number, s.told})
	}
}

func told(gaps []tickfan.Gap, p tickfan.Position) bool {
	for _, g := range gaps {
		if g.Epoch == p.Epoch && g.From <= p.Seq && (g.To == 0 || p.Seq <= g.To) {
			return true
		}
	}
	return false
}

// behind names a symbol of which the viewer has not the newest price, or an even newer one, yet.
func (v *viewer) behind(newest map[string]accepted) (what string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for name, s := range v.symbols {
		want := newest[name]
		if s.number < want.number || want.After(s.last.Position) {
			return fmt.Sprintf("%s has %s %s at %+v, newest is %s at %+v", v.name, name, s.last.Price, s.last.Position, price(want.number), want.Position)
		}
	}
	return ""
}

// judge judges the jumps by what was accepted.
func (v *viewer) judge(k *published) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.symbols[k.symbol]
	if s == nil {
		return
	}
	for _, j := range s.jumps {
		for _, p := range k.between(j.from, j.to, j.number) {
			if !told(j.told, p) {
				v.says("%s: tick %+v of %s is missing untold, between %+v and %+v, told %+v", v.name, p, k.symbol, j.from, j.to, j.told)
				break
			}
		}
	}
	s.jumps = nil
}
