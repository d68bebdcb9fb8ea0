package batch

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

// Slots is how many turns the buckets are spread over for their empty batches: call Idle that often per IdleEvery.
const (
	Slots     = 20
	IdleEvery = time.Second
)

// headRoom is more than a batch's head can take: array, kind, router, number, beat age, interest, items' header.
const headRoom = 1 + 1 + 5 + 9 + 9 + 3 + 9*subject.Parts + 5

// Options say what a Sender needs. All are needed.
type Options struct {
	Region   subject.Region
	Instance string        // the router's, new at each start
	Window   time.Duration // least time between two batches to a bucket
	// Publish sends a batch. It must not keep data. An error means that it did not leave.
	Publish func(subject string, data []byte) error
}

// Stats count what left, from the start. They may be read from any goroutine.
type Stats struct {
	Batches, Items, Bytes atomic.Int64
}

// Sender holds the region's buckets.
//
//	Latest, Every, Confirm --> bucket idle?  yes: now      --Flush--> sent --+
//	                                         no: stays  <-- cooling <--------+
//	                                         |                |
//	                                         +-- window over -+--Flush--> sent, or idle when there is nothing
type Sender struct {
	o     Options
	stats Stats
	slots [Slots]map[*Bucket]struct{}
	slot  int // whose turn comes next
	born  int // series begun so far, which is buckets opened

	now        []*Bucket // to be sent at the next Flush
	head, tail *Bucket   // cooling: sent within the window, oldest first
	waiting    int       // of those, how many have something to send

	beat  time.Time // when the last beat came; zero when none did
	batch tick.Batch
	buf   []byte
}

// NewSender makes a Sender without buckets.
func NewSender(o Options) *Sender {
	s := &Sender{o: o}
	for i := range s.slots {
		s.slots[i] = map[*Bucket]struct{}{}
	}
	return s
}

// Stats gives the counters.
func (s *Sender) Stats() *Stats { return &s.stats }

// Open makes a bucket and begins a series of batches, numbered from 1. Nothing is sent before the bucket is told something.
func (s *Sender) Open(name subject.Bucket) *Bucket {
	s.born++
	b := &Bucket{
		name:    name,
		subject: subject.Fanout(s.o.Region, name),
		router:  fmt.Sprintf("%s.%d", s.o.Instance, s.born),
		filled:  1,
		slot:    s.born % Slots,
	}
	s.slots[b.slot][b] = struct{}{}
	return b
}

// Close forgets a bucket with what it was to get.
func (s *Sender) Close(b *Bucket) {
	if b.cooling && b.pending() {
		s.waiting--
	}
	b.closed, b.items, b.owed = true, nil, false
	delete(s.slots[b.slot], b)
}

// Latest gives a bucket a symbol's newest tick, in the place of the one that it was to get before.
func (s *Sender) Latest(b *Bucket, slot *Slot, payload []byte) {
	if slot.filled == b.filled {
		b.items[slot.at] = payload
		return
	}
	*slot = Slot{b.filled, len(b.items)}
	s.Every(b, payload)
}

// Every gives a bucket a tick beside those that it is to get already.
func (s *Sender) Every(b *Bucket, payload []byte) {
	had := b.pending()
	b.items = append(b.items, payload)
	s.mark(b, had)
}

// Confirm makes the bucket's next batch say that the interest number of a part is applied, with whatever else it is
// given before the next Flush.
func (s *Sender) Confirm(b *Bucket, part int, number uint64) {
	had := b.pending()
	b.applied[part] = number
	b.owed = true
	s.mark(b, had)
}

// Beat takes note of ingest's beat.
func (s *Sender) Beat(now time.Time) { s.beat = now }

// BeatAge is the age of ingest's last beat in milliseconds, tick.NoBeat when there was none.
func (s *Sender) BeatAge(now time.Time) int64 {
	if s.beat.IsZero() {
		return tick.NoBeat
	}
	return max(0, now.Sub(s.beat).Milliseconds())
}

// Flush sends what is due. It returns when it must be called again, the zero time when nothing waits.
func (s *Sender) Flush(now time.Time) (next time.Time) {
	for i, b := range s.now {
		s.now[i] = nil
		b.queued = false
		s.send(b, now)
	}
	s.now = s.now[:0]
	for b := s.head; b != nil && now.Sub(b.sent) >= s.o.Window; b = s.head {
		s.head = b.next
		if s.head == nil {
			s.tail = nil
		}
		b.next, b.cooling = nil, false
		if b.pending() {
			s.waiting--
			s.send(b, now)
		}
	}
	if s.waiting == 0 {
		return time.Time{}
	}
	return s.head.sent.Add(s.o.Window)
}

// FlushAll sends what every bucket is to get, without regard to the window. It is for the end.
func (s *Sender) FlushAll(now time.Time) {
	s.Flush(now)
	for b := s.head; b != nil; b = b.next {
		if b.pending() {
			s.waiting--
			s.publish(b, now)
		}
	}
}

// Idle gives the buckets whose turn it is an empty batch unless they had one lately, so that an edge can tell silence
// from loss. A bucket's turn comes every Slots calls, so all buckets are spread over IdleEvery. "Lately" is half of
// it: then no bucket waits longer than one and a half.
func (s *Sender) Idle(now time.Time) {
	for b := range s.slots[s.slot] {
		if !b.pending() && now.Sub(b.sent) >= IdleEvery/2 {
			b.owed = true
			s.mark(b, false)
		}
	}
	s.slot = (s.slot + 1) % Slots
}

// pending tells whether there is something to send.
func (b *Bucket) pending() bool { return len(b.items) > 0 || b.owed }

// mark sees to it that a bucket which now has something to send gets its turn.
func (s *Sender) mark(b *Bucket, had bool) {
	switch {
	case had:
	case b.cooling:
		s.waiting++
	case !b.queued:
		b.queued = true
		s.now = append(s.now, b)
	}
}

// send publishes a bucket's items and starts its window.
func (s *Sender) send(b *Bucket, now time.Time) {
	if b.closed {
		return
	}
	s.publish(b, now)
	b.sent, b.cooling = now, true
	if s.tail == nil {
		s.head = b
	} else {
		s.tail.next = b
	}
	s.tail = b
}

// publish sends a bucket's items in one batch, or in several where they are too large for one. Only the last of them
// confirms new interest numbers, for only then has all that belongs to them left.
//
// A batch that the connection refuses is not kept: its number is used up, so the edge sees the hole and asks for what
// is newest by then, which is more than could be resent.
func (s *Sender) publish(b *Bucket, now time.Time) {
	s.batch.BeatAge = s.BeatAge(now)
	for rest, last := b.items, false; !last; {
		n := s.fit(b, rest)
		if last = n == len(rest); last {
			b.said = b.applied
		}
		b.number++
		s.batch.Router, s.batch.Number, s.batch.Interest, s.batch.Items = b.router, b.number, b.said, rest[:n]
		s.buf = s.batch.Append(s.buf[:0])
		if s.o.Publish(b.subject, s.buf) == nil {
			s.stats.Batches.Add(1)
			s.stats.Items.Add(int64(n))
			s.stats.Bytes.Add(int64(len(s.buf)))
		}
		rest = rest[n:]
	}
	s.batch.Items = nil
	b.owed = false
	b.empty()
}

// fit is how many of the items go into one batch: at least one, for a single one is never too large for NATS.
func (s *Sender) fit(b *Bucket, items [][]byte) int {
	size := headRoom + len(b.router)
	for i, it := range items {
		if size += len(it); size > tick.MaxPayload && i > 0 {
			return i
		}
	}
	return len(items)
}
