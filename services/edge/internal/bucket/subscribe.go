package bucket

import (
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

// activation is how long a subscribe waits for a router to confirm. After it the answer says which symbols have no
// price yet; their first tick will be their snapshot.
const activation = time.Second

// pending is a subscribe that waits for topics to become live. Until it is done it changes nothing of the session, so
// that it is all or nothing; it only holds its topics, which has them asked for upstream.
type pending struct {
	s        *Session
	req      *session.Request
	topics   []*topic
	done     func()
	deadline int64
	span     trace.Span // nil: not traced
}

// operate carries out a subscribe or unsubscribe and calls done when it is answered.
func (b *Bucket) operate(s *Session, req *session.Request, done func(), now int64) {
	if req.Op == session.OpUnsubscribe {
		defer done()
		for _, sym := range req.Symbols {
			if t := b.topics[sym]; t != nil {
				if i := s.find(t); i >= 0 {
					s.remove(i)
					b.released(t, now)
				}
			}
		}
		s.say(&session.Message{Op: session.OpUnsubscribed, ID: req.ID, Symbols: req.Symbols})
		return
	}
	if n := len(s.subs) + b.added(s, req.Symbols); n > session.MaxSymbols {
		s.Refuse(req.ID, code.Errorf(code.TooManySymbols, "%d symbols on this connection: at most %d", n, session.MaxSymbols))
		done()
		return
	}
	if !b.hasRoom(req.Symbols) {
		s.Refuse(req.ID, code.Errorf(code.Unavailable, "too many symbols are wanted here now: try again in some seconds"))
		done()
		return
	}
	p := &pending{s: s, req: req, done: done, deadline: now + int64(activation), topics: make([]*topic, len(req.Symbols))}
	for i, sym := range req.Symbols {
		t := b.topic(sym)
		p.topics[i] = t
		t.holds++
		if req.Mode == session.Every {
			t.addEvery(now)
		}
		b.needed(t)
	}
	if b.ready(p) {
		b.complete(p, now)
		return
	}
	b.traceSubscribe(p)
	b.pending = append(b.pending, p)
}

// added counts those of symbols that s has not subscribed to.
func (b *Bucket) added(s *Session, symbols []subject.Symbol) (n int) {
	for _, sym := range symbols {
		if t := b.topics[sym]; t == nil || s.find(t) < 0 {
			n++
		}
	}
	return n
}

// hasRoom tells whether the table may take what is new to it of symbols. The registry refuses a part that names more, and
// with it all that changes with the part; so whoever tries many symbols must not fill one.
func (b *Bucket) hasRoom(symbols []subject.Symbol) bool {
	var added [subject.Parts]int
	for _, sym := range symbols {
		if b.topics[sym] == nil {
			p := subject.Part(sym)
			if added[p]++; len(b.interest.parts[p])+added[p] > control.MaxPartSymbols {
				return false
			}
		}
	}
	return true
}

// ready tells whether every topic of p is live: its newest value, or that it has none, is known here, and for mode every
// also that a router sends each of its ticks.
func (b *Bucket) ready(p *pending) bool {
	for _, t := range p.topics {
		if !b.served(t, p.req.Mode) {
			return false
		}
	}
	return true
}

func (b *Bucket) served(t *topic, m session.Mode) bool {
	return t.live && (m != session.Every || t.wanted == control.Every && b.feed.confirmed[t.part] >= t.number)
}

func (b *Bucket) completePending(now int64) {
	keep := b.pending[:0]
	for _, p := range b.pending {
		if p.s.gone || now >= p.deadline || b.ready(p) {
			b.complete(p, now)
		} else {
			keep = append(keep, p)
		}
	}
	clear(b.pending[len(keep):])
	b.pending = keep
}

// complete answers a subscribe: the answer and the snapshots leave in one write.
func (b *Bucket) complete(p *pending, now int64) {
	defer p.done()
	s, every := p.s, p.req.Mode == session.Every
	wants := make([]want, len(p.topics))
	at := make([]int, len(p.topics))
	var noPrice []subject.Symbol
	unpriced := s.unpriced()
	for i, t := range p.topics {
		wants[i] = want{t: t, every: every, rate: p.req.MaxRate, after: p.req.After[t.symbol]}
		if at[i] = s.find(t); !t.priced() || !t.live {
			noPrice = append(noPrice, t.symbol)
			if at[i] < 0 && t.live { // while no router answers nobody knows, and nobody is refused for it
				unpriced++
			}
		}
	}
	refused := unpriced > session.MaxUnpriced
	var numbers []uint32
	if !refused && !s.gone {
		if s.numbered {
			numbers = make([]uint32, len(p.topics))
			for i, t := range p.topics {
				numbers[i] = b.number(t)
			}
		}
		if len(s.subs) == 0 { // as most clients subscribe once, no more memory than for that
			s.subs = make([]sub, 0, len(wants))
		}
		for i, w := range wants {
			s.apply(w, at[i], now)
		}
	}
	if p.span != nil {
		p.span.SetAttributes(attribute.Int("tickfan.no_price", len(noPrice)), attribute.Bool("tickfan.refused", refused))
		var err error
		if !s.gone && !b.ready(p) {
			err = errUnserved
		}
		p.endSubscribe(err)
	}
	for _, t := range p.topics {
		t.holds--
		if every {
			t.dropEvery()
		}
		b.released(t, now)
	}
	if s.gone {
		return
	}
	if refused {
		s.Refuse(p.req.ID, code.Errorf(code.TooManyUnpriced, "%d symbols without a price on this connection: at most %d", unpriced, session.MaxUnpriced))
		return
	}
	answer := s.dialect.AppendMessage(nil, &session.Message{
		Op: session.OpSubscribed, ID: p.req.ID, Symbols: p.req.Symbols, NoPrice: noPrice, Numbers: numbers})
	if b.feed.stale {
		answer = s.dialect.AppendMessage(answer, b.feed.staleMessage(now))
	}
	if s.blocked {
		s.answer(answer)
		return
	}
	c := s.clockOf(p.req.MaxRate)
	c.queued, c.fresh = true, true
	b.flushSession(s, answer, now)
}

// topic finds or makes the table's entry.
func (b *Bucket) topic(sym subject.Symbol) *topic {
	t := b.topics[sym]
	if t == nil {
		t = &topic{symbol: sym, part: subject.Part(sym)}
		b.topics[sym] = t
		b.interest.add(t)
	}
	return t
}

// goLive lets a topic's newest value be shown, to those also who were told that it had none.
func (b *Bucket) goLive(t *topic, now int64) {
	if t.live || t.wanted == "" {
		return
	}
	t.live = true
	t.seedRing(now)
	b.recheck = true
	if t.priced() {
		for _, r := range t.subs {
			b.mark(r.clock, r.i, now)
		}
	}
}

// take puts a tick into the table and marks who wants it. changed: it is the symbol's newest now.
func (b *Bucket) take(t *topic, tk *tick.Tick, now int64) (changed bool) {
	changed, ringed := t.set(tk, now)
	if changed && t.traced != nil {
		b.followed(t.traced, true)
	}
	switch {
	case !changed && !ringed:
		b.o.Stats.Old.Add(1)
		return changed
	case !t.live:
		return changed
	}
	n := int64(0)
	for _, r := range t.subs {
		if changed && !r.every || ringed && r.every {
			if !r.every && r.clock.has(r.i) {
				n++
			}
			b.mark(r.clock, r.i, now)
		}
	}
	if n > 0 {
		b.o.Stats.Conflated.Add(n)
	}
	return changed
}
