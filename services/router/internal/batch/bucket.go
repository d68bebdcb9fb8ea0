package batch

import (
	"time"

	"github.com/tickfan/tickfan/proto/subject"
)

// keepItems is how many items a bucket keeps room for between batches. A snapshot may need more, once.
const keepItems = 8192

// Bucket is what one bucket is to get next.
type Bucket struct {
	name    subject.Bucket
	subject string
	router  string // as its batches name it: one name for each series of numbers

	items  [][]byte
	filled uint64 // counts up with each emptying of items, from 1, so that a Slot of an earlier filling is known as such

	number  uint64                // of the last batch
	applied [subject.Parts]uint64 // interest numbers that the next whole batch confirms
	said    [subject.Parts]uint64 // those that the last one confirmed

	sent    time.Time // when the last batch left; zero before the first
	owed    bool      // a batch must leave even without items, to confirm a number
	queued  bool      // in Sender.now
	cooling bool      // in the queue of those that sent within the flush window
	closed  bool
	next    *Bucket // in that queue
	slot    int     // its turn for an empty batch
}

// Slot is where a symbol's newest tick stands among a bucket's items. The zero Slot stands nowhere. Who routes keeps
// one per (symbol, bucket); it costs a word and saves a lookup by symbol in each bucket for each tick.
type Slot struct {
	filled uint64
	at     int
}

// Closed tells whether the sender has forgotten the bucket.
func (b *Bucket) Closed() bool { return b.closed }

// empty forgets the items and whatever they held on to.
func (b *Bucket) empty() {
	clear(b.items)
	b.items = b.items[:0]
	if cap(b.items) > keepItems {
		b.items = nil
	}
	b.filled++
}
