package tickfan

import (
	"context"
	"slices"
	"sync"

	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
)

// feed is what a Client knows of its symbols and what its user has not taken yet. The reader of the socket puts in,
// Next takes out:
//
//	socket -> tick, gap -> subscription (drops, finds holes) -> queue -> next -> user
//	       -> state ------------------------------------------^
//
// The queue is bounded: a symbol of mode latest is in it once at most and stands for its newest tick; ticks and gaps of
// mode every are counted, and waitRoom holds the reader up at the limit; of the states only the last few are kept.
type feed struct {
	limit int
	ready chan struct{} // holds a token when next may find something
	room  chan struct{} // holds a token when waitRoom may find room

	mu     sync.Mutex
	subs   map[string]*subscription
	queue  queue
	lifted int   // calls that await an answer, which can only be had by reading on
	err    error // set: nothing comes any more
}

func newFeed(limit int) *feed {
	if limit <= 0 {
		limit = DefaultBuffer
	}
	return &feed{
		limit: limit,
		ready: make(chan struct{}, 1),
		room:  make(chan struct{}, 1),
		subs:  map[string]*subscription{},
	}
}

// signal leaves a token unless there is one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// tick takes a tick off the wire; symbol may point into a buffer that is used again.
func (f *feed) tick(symbol []byte, t *Tick) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tickLocked(f.subs[string(symbol)], t)
}

// tickOf is tick for who has the symbol as a string.
func (f *feed) tickOf(symbol string, t *Tick) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tickLocked(f.subs[symbol], t)
}

func (f *feed) tickLocked(s *subscription, t *Tick) {
	if s == nil {
		return // unsubscribed meanwhile
	}
	t.Symbol = s.symbol
	if s.mode == session.Every {
		hole, fresh := s.next(t.Position)
		if hole.From > 0 {
			f.queue.push(entry{sub: s, event: hole})
		}
		if fresh {
			f.queue.push(entry{sub: s, event: *t})
		}
	} else if t.Position.After(s.last) {
		s.last = t.Position
		s.newest = *t
		if !s.queued {
			s.queued = true
			f.queue.push(entry{sub: s})
		}
	}
	signal(f.ready)
}

// stands tells whether a symbol is subscribed in mode every, and gives the name that the feed keeps.
func (f *feed) stands(symbol subject.Symbol) (name string, every bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.subs[string(symbol)]
	if s == nil {
		return "", false
	}
	return s.symbol, s.mode == session.Every
}

// gap takes a gap that the edge tells of.
func (f *feed) gap(g Gap) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.subs[g.Symbol]
	if s == nil || s.mode != session.Every {
		return
	}
	if g, news := s.gap(g); news {
		f.queue.push(entry{sub: s, event: g})
		signal(f.ready)
	}
}

// state takes any other event.
func (f *feed) state(e Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue.push(entry{event: e})
	signal(f.ready)
}

// subscribed notes what the edge has agreed to; noPrice are the symbols without a price yet.
func (f *feed) subscribed(r *session.Request, noPrice []subject.Symbol) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, symbol := range r.Symbols {
		s := f.subs[string(symbol)]
		if s == nil {
			s = &subscription{symbol: string(symbol)}
			f.subs[s.symbol] = s
		}
		if r.Mode != s.mode {
			s.started = false // what was skipped in mode latest is no gap
		}
		s.mode, s.rate = r.Mode, r.MaxRate
		if after, given := r.After[symbol]; given {
			s.last, s.started = after, true
		}
		s.unpriced = slices.Contains(noPrice, symbol)
	}
}

// unsubscribed forgets symbols, with what of them waits to be taken.
func (f *feed) unsubscribed(symbols []subject.Symbol) {
	f.mu.Lock()
	defer f.mu.Unlock()
	gone := map[*subscription]bool{}
	for _, symbol := range symbols {
		if s := f.subs[string(symbol)]; s != nil {
			gone[s] = true
			delete(f.subs, s.symbol)
		}
	}
	f.queue.remove(func(e entry) bool { return gone[e.sub] })
	signal(f.room)
}

// renewalSymbols bounds a renewing subscribe: 200 symbols, each with an after, stay far below session.MaxMessage.
const renewalSymbols = 200

// renewals gives the requests that subscribe all symbols again on a new connection, each from where it stands.
func (f *feed) renewals() []*session.Request {
	type kind struct {
		mode session.Mode
		rate int
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	kinds := map[kind][]subject.Symbol{}
	for _, s := range f.subs {
		k := kind{s.mode, s.rate}
		kinds[k] = append(kinds[k], subject.Symbol(s.symbol))
	}
	var all []*session.Request
	for k, symbols := range kinds {
		slices.Sort(symbols)
		for chunk := range slices.Chunk(symbols, renewalSymbols) {
			r := &session.Request{Op: session.OpSubscribe, Symbols: chunk, Mode: k.mode, MaxRate: k.rate}
			for _, symbol := range chunk {
				after, given := f.subs[string(symbol)].resume()
				if !given {
					continue
				}
				if r.After == nil {
					r.After = map[subject.Symbol]Position{}
				}
				r.After[symbol] = after
			}
			all = append(all, r)
		}
	}
	return all
}

// lift lets the reader go on in spite of a full queue, by +1, or no more, by -1.
func (f *feed) lift(by int) {
	f.mu.Lock()
	f.lifted += by
	f.mu.Unlock()
	signal(f.room)
}

// full tells whether the reader is held up.
func (f *feed) full() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.queue.held >= f.limit && f.lifted == 0
}

// waitRoom returns when the reader may read on, or at done.
func (f *feed) waitRoom(done <-chan struct{}) {
	for f.full() {
		select {
		case <-f.room:
		case <-done:
			return
		}
	}
}

// end makes err the last thing that next gives, at once or after what waits to be taken.
func (f *feed) end(err error, now bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now {
		f.queue.remove(func(entry) bool { return true })
	}
	if f.err == nil || now {
		f.err = err
	}
	signal(f.ready)
}

// next waits for an event and takes it.
func (f *feed) next(ctx context.Context) (Event, error) {
	for {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		f.mu.Lock()
		e, more := f.queue.pop()
		err := f.err
		f.mu.Unlock()
		if more || err != nil {
			signal(f.ready) // for another reader
		}
		switch {
		case e != nil:
			signal(f.room)
			return e, nil
		case err != nil:
			return nil, err
		}
		select {
		case <-ctx.Done():
		case <-f.ready:
		}
	}
}
