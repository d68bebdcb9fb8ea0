package bucket

import (
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
	"github.com/tickfan/tickfan/proto/wire"
)

const (
	// silence is how long no batch may come (an idle bucket gets an empty one each second) before newest is asked.
	silence = 3 * time.Second
	// staleAfter is the age of ingest's beat from which clients are told that prices may be old, and staleAgain how
	// often they are told.
	staleAfter = 3 * time.Second
	staleAgain = 5 * time.Second
	// askTime is how long routers may take to answer newest before they are asked again.
	askTime = time.Second
	// askMost symbols go into one question, so that it stays far below what NATS takes.
	askMost = 5000
	// forgetRouter is how long the number of a series is kept of which nothing comes.
	forgetRouter = time.Minute
)

// feed is what comes from the routers: batches, and answers to newest. A batch number that is missing, a silence, a message
// that the worker was too slow to take and a new connection all mean that something may have been lost, and are mended
// alike: by asking for the newest of all.
type feed struct {
	routers   map[string]*routerState // by series of batches
	confirmed [subject.Parts]uint64   // per part the highest interest number that a router has applied
	decoded   tick.Batch
	last      int64 // when a batch last came

	asks     map[uint64]*ask
	askID    uint64
	resynced int64 // when the newest of everything was last asked for
	again    bool  // and it has to be asked for again
	dropped  int   // messages that the worker was too slow to take, when last looked at
	holes    holes
	beat     int64 // when ingest gave its last sign of life, as far as batches tell; 0: not known
	wanting  int64 // since when there has been interest
	stale    bool
	told     int64 // when clients were last told
}

type routerState struct {
	number uint64
	heard  int64
}

type ask struct {
	symbols []subject.Symbol
	sent    int64
}

func (f *feed) init() {
	f.routers = map[string]*routerState{}
	f.asks = map[uint64]*ask{}
	f.holes.asked = map[uint64]*hole{}
}

// confirms tells whether routers have applied the whole change.
func (f *feed) confirms(c *change) bool {
	for _, p := range c.parts {
		if f.confirmed[p] < c.number {
			return false
		}
	}
	return true
}

// batch takes a batch: first its ticks, then what it confirms, so that a topic goes live with its value.
func (f *feed) batch(b *Bucket, data []byte, now int64) {
	st := b.o.Stats
	m := &f.decoded
	if err := m.Decode(data); err != nil {
		st.Malformed.Add(1)
		b.warn("batch cannot be read", "error", err)
		return
	}
	st.Batches.Add(1)
	f.last = now
	if m.BeatAge != tick.NoBeat {
		f.beat = max(f.beat, now-m.BeatAge*int64(time.Millisecond))
	}
	r := f.routers[m.Router]
	if r == nil { // a series begins with number 1
		r = &routerState{}
		f.routers[m.Router] = r
	}
	lost := m.Number != r.number+1
	if lost {
		st.Holes.Add(1)
		f.resync(b, now)
	}
	r.number, r.heard = m.Number, now
	for _, item := range m.Items {
		f.item(b, item, now)
	}
	for p, n := range m.Interest {
		if n <= f.confirmed[p] {
			continue
		}
		f.confirmed[p] = n
		b.recheck = true
		for t := range b.interest.parts[p] {
			if t.number <= n && !lost { // its newest may be what was lost: then the answer to newest has it go live
				b.goLive(t, now)
			}
		}
	}
}

func (f *feed) item(b *Bucket, item []byte, now int64) {
	st := b.o.Stats
	if k, err := wire.KindOf(item); err != nil || k != wire.KindTick {
		st.Unknown.Add(1)
		return
	}
	h, err := tick.DecodeHead(item)
	if err != nil {
		st.Malformed.Add(1)
		return
	}
	st.Ticks.Add(1)
	t := b.topics[subject.Symbol(h.Symbol)]
	if t == nil {
		st.Unwanted.Add(1)
		return
	}
	if t.ring == nil && !h.After(t.newest.Position) {
		st.Old.Add(1)
		return
	}
	tk, err := tick.Decode(item)
	if err != nil {
		st.Malformed.Add(1)
		return
	}
	if !b.take(t, &tk, now) {
		return
	}
	if t.live { // else it is what the symbol begins with, which may be old
		st.Taken.Since(tk.At)
	}
	if b.o.Tracer != nil {
		if parent := tick.TraceOf(item); parent != nil {
			b.follow(t, &tk, parent, now)
		}
	}
}

// resync asks for the newest of everything that is wanted. Where loss follows loss, an overloaded worker must not be given
// an answer for each: the next question waits for the next check.
func (f *feed) resync(b *Bucket, now int64) {
	if f.again = now-f.resynced < int64(checkEvery); f.again {
		return
	}
	f.resynced = now
	clear(f.asks)
	var all []subject.Symbol
	for _, t := range b.topics {
		if t.wanted != "" {
			all = append(all, t.symbol)
		}
	}
	if len(all) > 0 {
		b.o.Stats.Resyncs.Add(1)
	}
	f.ask(b, all, now)
}

// ask asks the routers for newest ticks.
func (f *feed) ask(b *Bucket, symbols []subject.Symbol, now int64) {
	for len(symbols) > 0 {
		n := min(len(symbols), askMost)
		f.askID++
		a := &ask{symbols: symbols[:n], sent: now}
		f.asks[f.askID] = a
		f.send(b, f.askID, a)
		symbols = symbols[n:]
	}
}

func (f *feed) send(b *Bucket, id uint64, a *ask) {
	req := tick.NewestRequest{Symbols: a.symbols}
	b.request(subject.RouterNewest(b.o.Region), askNewest, id, req.Append(nil), nil)
}

// answered takes one message of an answer. It is good also when the question has been asked anew meanwhile: positions
// tell what is newer.
func (f *feed) answered(b *Bucket, msg *nats.Msg, id uint64, now int64) {
	if noResponders(msg) {
		return
	}
	m, err := tick.DecodeNewestAnswer(msg.Data)
	if err != nil {
		b.o.Stats.Malformed.Add(1)
		b.warn("answer to newest cannot be read", "error", err)
		return
	}
	for _, item := range m.Ticks {
		tk, err := tick.Decode(item)
		if err != nil {
			b.o.Stats.Malformed.Add(1)
			continue
		}
		if t := b.topics[tk.Symbol]; t != nil {
			b.take(t, &tk, now)
			b.goLive(t, now)
		}
	}
	for _, s := range m.Missing {
		if t := b.topics[s]; t != nil {
			b.goLive(t, now)
		}
	}
	if m.Last {
		delete(f.asks, id)
	}
}

// check is called every quarter of a second.
func (f *feed) check(b *Bucket, now int64) {
	for id, a := range f.asks {
		if now-a.sent >= int64(askTime) {
			a.sent = now
			f.send(b, id, a)
		}
	}
	for name, r := range f.routers {
		if now-r.heard > int64(forgetRouter) {
			delete(f.routers, name)
		}
	}
	if b.symbols.Load() == 0 { // no batch comes then to tell of ingest
		f.wanting, f.beat = 0, 0
		return
	}
	if f.wanting == 0 {
		f.wanting = now
	}
	if since := max(f.last, f.wanting); now-since >= int64(silence) {
		f.last = now // ask again after another silence
		f.again = true
	}
	if n := b.dropped(); n > f.dropped {
		f.dropped = n
		f.again = true
	}
	if f.again {
		f.resync(b, now)
	}
	f.checkStale(b, now)
}

// checkStale tells clients when ingest has gone silent. A symbol that merely does not trade is not stale.
func (f *feed) checkStale(b *Bucket, now int64) {
	last := f.beat
	if last == 0 {
		last = f.wanting // no sign of life yet: since we want one
	}
	switch {
	case now-last >= int64(staleAfter):
		if !f.stale || now-f.told >= int64(staleAgain) {
			f.stale, f.told = true, now
			b.sayAll(f.staleMessage(now))
		}
	case f.stale && f.beat != 0:
		f.stale = false
		b.sayAll(&session.Message{Op: session.OpFresh})
	}
}

// staleMessage tells the age of the last beat, or none when it is not known.
func (f *feed) staleMessage(now int64) *session.Message {
	m := &session.Message{Op: session.OpStale}
	if f.beat != 0 {
		m.AgeMS = (now - f.beat) / int64(time.Millisecond)
	}
	return m
}
