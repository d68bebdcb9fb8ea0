package stamp

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

// ErrInactive means that this ingest may not stamp now: another one does, or it cannot know yet. The price is dropped
// without a word, for the active ingest has it too.
var ErrInactive = errors.New("this ingest does not hold the lease")

// Publisher sends a message without waiting, or refuses it; it keeps neither slice. *nats.Conn is one.
type Publisher interface {
	Publish(subject string, data []byte) error
	PublishMsg(m *nats.Msg) error
}

// Stamper stamps and publishes. Its methods may be called from any goroutine.
type Stamper struct {
	pub        Publisher
	now        func() time.Time
	maxSymbols int

	active  atomic.Uint64 // the epoch, 0 while not active; for those who only want to know
	symbols atomic.Int64

	// mu is held across Publish, so that ticks of a symbol leave in the order of their seq and a beat tells a count
	// that is true at its place in the stream. Publish only fills the connection's buffer.
	mu    sync.Mutex
	epoch uint64
	until time.Time // after it a pause is suspected and nothing is stamped
	count uint64
	lines map[subject.Symbol]*line
	buf   []byte
}

// line is a symbol's state within the epoch.
type line struct {
	subject string // made once
	seq     uint64
	prev    tick.Position // last before this epoch
	last    tick.Tick     // of seq
}

// New returns a Stamper that is not active. At most maxSymbols distinct symbols are stamped, those that TICKS has
// counted in.
func New(pub Publisher, maxSymbols int, now func() time.Time) *Stamper {
	return &Stamper{pub: pub, now: now, maxSymbols: maxSymbols, lines: map[subject.Symbol]*line{}}
}

// Begin starts an epoch. known is each symbol's last position in TICKS: the first tick of the epoch names it as prev.
// Nothing is stamped before Keep was called. The first beat tells the epoch at once.
func (s *Stamper) Begin(epoch uint64, known map[subject.Symbol]tick.Position) {
	s.mu.Lock()
	for sym, l := range s.lines { // of an epoch of our own before this one
		if l.seq > 0 {
			l.prev = tick.Position{Epoch: s.epoch, Seq: l.seq}
		}
		if p, ok := known[sym]; ok {
			l.prev = p
		}
		l.seq = 0
	}
	for sym, p := range known {
		if s.lines[sym] == nil {
			s.lines[sym] = &line{subject: subject.Ticks(sym), prev: p}
		}
	}
	s.epoch, s.count = epoch, 0
	s.active.Store(epoch)
	s.symbols.Store(int64(len(s.lines)))
	s.mu.Unlock()
	_ = s.Beat() // a lost one is followed by the next
}

// End stops stamping until the next Begin. What was stamped before it has been handed to the connection.
func (s *Stamper) End() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active.Store(0)
	s.until = time.Time{}
}

// Keep allows stamping until then. The lease calls it again and again; a process that was paused finds the time gone
// by before anything else of it can run.
func (s *Stamper) Keep(until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until = until
}

// Epoch is the epoch that is being stamped in, 0 while not active.
func (s *Stamper) Epoch() uint64 { return s.active.Load() }

// Symbols is the number of distinct symbols known.
func (s *Stamper) Symbols() int64 { return s.symbols.Load() }

func (s *Stamper) activeLocked(now time.Time) bool {
	return s.active.Load() != 0 && !now.After(s.until)
}

// Stamp gives the price its position and publishes it. The error is ErrInactive or a *code.Error: too_many_symbols,
// or unavailable when the connection refused it. A price that was not published uses up no seq. header goes with the
// message: the trace of a price that is traced, nil for all others.
func (s *Stamper) Stamp(sym subject.Symbol, q tick.Quote, header nats.Header) (tick.Position, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if !s.activeLocked(now) {
		return tick.Position{}, ErrInactive
	}
	l := s.lines[sym]
	known := l != nil
	if !known {
		if len(s.lines) >= s.maxSymbols {
			return tick.Position{}, code.Errorf(code.TooManySymbols,
				"symbol %s is new and there are %d: at most %d (--max-symbols)", sym, len(s.lines), s.maxSymbols)
		}
		l = &line{subject: subject.Ticks(sym)}
	}
	t := tick.Tick{Symbol: sym, Position: tick.Position{Epoch: s.epoch, Seq: l.seq + 1}, At: now.UnixMicro(), Quote: q}
	if l.seq == 0 {
		t.Prev = l.prev
	}
	s.buf = t.Append(s.buf[:0])
	var err error
	if header == nil {
		err = s.pub.Publish(l.subject, s.buf)
	} else {
		err = s.pub.PublishMsg(&nats.Msg{Subject: l.subject, Header: header, Data: s.buf})
	}
	if err != nil {
		if errors.Is(err, nats.ErrReconnectBufExceeded) { // its buffer has no room for a stale price, on purpose
			err = errors.New("not connected")
		}
		return tick.Position{}, code.Errorf(code.Unavailable, "NATS takes no prices now: %v", err)
	}
	l.seq++
	l.last = t
	s.count++
	if !known {
		s.lines[sym] = l
		s.symbols.Store(int64(len(s.lines)))
	}
	return t.Position, nil
}

// Newest goes through the symbols that have a tick in this epoch, with its position and when it was stamped, microseconds
// since 1970; none while not active. f must not call the Stamper.
func (s *Stamper) Newest(f func(sym subject.Symbol, p tick.Position, at int64)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.activeLocked(s.now()) {
		return
	}
	for sym, l := range s.lines {
		if l.seq > 0 {
			f(sym, l.last.Position, l.last.At)
		}
	}
}

// Again publishes a symbol's newest tick once more, marked as such, if it still is the one at p. false: it was not, or not
// active, or the connection refused it.
func (s *Stamper) Again(sym subject.Symbol, p tick.Position) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lines[sym]
	if l == nil || l.seq == 0 || l.last.Position != p || !s.activeLocked(s.now()) {
		return false
	}
	t := l.last
	t.Again = true
	s.buf = t.Append(s.buf[:0])
	return s.pub.Publish(l.subject, s.buf) == nil
}

// Beat says the sign of life, or nothing while not active. The error is the connection's.
func (s *Stamper) Beat() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if !s.activeLocked(now) {
		return nil
	}
	b := tick.BeatMsg{Epoch: s.epoch, Count: s.count, Time: now.UnixMicro()}
	s.buf = b.Append(s.buf[:0])
	return s.pub.Publish(subject.Beat, s.buf)
}
