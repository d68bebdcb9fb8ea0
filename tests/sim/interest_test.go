package sim

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
)

// Times of a real edge's bucket.
const (
	linger      = 5 * time.Second
	checkEvery  = 250 * time.Millisecond
	answerTime  = 300 * time.Millisecond
	answerMost  = 8 * answerTime
	confirmTime = time.Second
)

// interest is what a bucket wants of the region's routers, and what it has told the registry, as a real edge keeps it:
// whole parts, one change in flight, what nobody wants any more kept for a while. Times are nanoseconds of any clock.
type interest struct {
	m         *market
	count     [marketSymbols]int32  // clients that want it
	wanted    [marketSymbols]bool   // as the last change has it
	unused    [marketSymbols]int64  // since when a wanted one has no client; 0: it has, or is not wanted
	asked     [marketSymbols]int64  // since when it has clients that are not served yet; 0: none
	told      [marketSymbols]uint64 // the change that began or ended it
	lingering []symbol              // those that are wanted and unused, or were
	dirty     [subject.Parts]bool
	number    uint64
	change    *change // in flight
	written   [subject.Parts]written
	confirmed [subject.Parts]uint64
	waiting   int // symbols with asked
	symbols   int // wanted

	served func(waited time.Duration) // called when a symbol is, that had to be asked for
}

// change is a control.InterestRequest. It is built as text: a thousand buckets' maps and their sorting would cost the
// simulation more than the registry.
type change struct {
	number    uint64
	parts     []int
	digests   []uint32 // of parts
	payload   []byte
	since     int64
	sent      int64
	answered  bool
	confirmed bool
}

// written is a part as the registry has answered for it.
type written struct {
	number uint64
	digest uint32
}

// add counts a client more that wants s.
func (in *interest) add(s symbol, now int64) {
	if in.count[s]++; in.count[s] > 1 {
		return
	}
	if in.wanted[s] {
		in.unused[s] = 0
		return
	}
	in.dirty[in.m.part[s]] = true
	in.asked[s] = now
	in.waiting++
}

// remove counts one less.
func (in *interest) remove(s symbol, now int64) {
	if in.count[s]--; in.count[s] > 0 {
		return
	}
	if !in.wanted[s] { // it was let go before it was told
		in.forgetAsked(s)
		return
	}
	if in.unused[s] == 0 {
		in.unused[s] = now
		in.lingering = append(in.lingering, s)
	}
}

func (in *interest) forgetAsked(s symbol) {
	if in.asked[s] != 0 {
		in.asked[s] = 0
		in.waiting--
	}
}

// sweep ends what has lingered long enough.
func (in *interest) sweep(now int64) {
	in.lingering = slices.DeleteFunc(in.lingering, func(s symbol) bool {
		if in.unused[s] != 0 && now-in.unused[s] < int64(linger) {
			return false
		}
		if in.unused[s] != 0 {
			in.dirty[in.m.part[s]] = true
		}
		return true
	})
}

// resend has every part told again: the registry has lost the bucket.
func (in *interest) resend() {
	for p := range in.dirty {
		in.dirty[p] = true
	}
}

// next is the change to be sent now, nil where none is: a new one, or the one in flight when its answer is overdue.
func (in *interest) next(b subject.Bucket, now int64) *change {
	if c := in.change; c != nil {
		switch {
		case c.confirmed && c.answered:
			in.change = nil
		case !in.anyDirty() || !c.confirmed && now-c.since < int64(confirmTime):
			if !c.answered && now-c.sent >= min(max(int64(answerTime), c.sent-c.since), int64(answerMost)) {
				c.sent = now
				return c
			}
			return nil
		default:
			for _, p := range c.parts {
				in.dirty[p] = true
			}
		}
	}
	if !in.anyDirty() {
		return nil
	}
	in.number++
	c := &change{number: in.number, since: now, sent: now}
	c.payload = fmt.Appendf(nil, `{"bucket":%q,"number":%d,"parts":{`, b, c.number)
	for p, dirty := range in.dirty {
		if !dirty {
			continue
		}
		in.dirty[p] = false
		if len(c.parts) > 0 {
			c.payload = append(c.payload, ',')
		}
		var digest uint32
		c.payload, digest = in.appendPart(fmt.Appendf(c.payload, `"%d":{`, p), p, now)
		c.payload = append(c.payload, '}')
		c.parts, c.digests = append(c.parts, p), append(c.digests, digest)
	}
	c.payload = append(c.payload, "}}"...)
	in.change = c
	return c
}

func (in *interest) anyDirty() bool { return slices.Contains(in.dirty[:], true) }

// appendPart appends the whole part as it is wanted now.
func (in *interest) appendPart(b []byte, p int, now int64) (_ []byte, digest uint32) {
	comma := false
	for _, s := range in.m.parts[p] {
		want := in.count[s] > 0 || in.wanted[s] && in.unused[s] != 0 && now-in.unused[s] < int64(linger)
		if want != in.wanted[s] {
			in.wanted[s], in.told[s], in.unused[s] = want, in.number, 0
			if want {
				in.symbols++
			} else {
				in.symbols--
				in.forgetAsked(s) // nobody waits any more
			}
		}
		if want {
			if comma {
				b = append(b, ',')
			}
			comma = true
			b = append(b, in.m.entries[s]...)
			digest += in.m.digests[s]
		}
	}
	return b, digest
}

// answer takes the registry's, and gives the symbols of the change that no router has been seen to serve yet.
func (in *interest) answer(number uint64) (ask []subject.Symbol) {
	c := in.change
	if c == nil || c.number != number || c.answered {
		return nil
	}
	c.answered = true
	for i, p := range c.parts {
		in.written[p] = written{number, c.digests[i]}
		for _, s := range in.m.parts[p] {
			if in.asked[s] != 0 && in.wanted[s] {
				ask = append(ask, in.m.symbols[s])
			}
		}
	}
	return ask
}

// confirm takes the numbers that a batch says are applied.
func (in *interest) confirm(numbers *[subject.Parts]uint64, now int64) {
	news := false
	for p, n := range numbers {
		if n <= in.confirmed[p] {
			continue
		}
		in.confirmed[p], news = n, true
		if in.waiting == 0 {
			continue
		}
		for _, s := range in.m.parts[p] {
			if in.wanted[s] && in.told[s] <= n {
				in.live(s, now)
			}
		}
	}
	if c := in.change; news && c != nil {
		c.confirmed = true
		for _, p := range c.parts {
			c.confirmed = c.confirmed && in.confirmed[p] >= c.number
		}
	}
}

// live notes that a symbol is served.
func (in *interest) live(s symbol, now int64) {
	if since := in.asked[s]; since != 0 {
		in.forgetAsked(s)
		in.served(time.Duration(now - since))
	}
}

// settled tells whether all that is wanted stands, and nothing else.
func (in *interest) settled() bool {
	return in.change == nil && in.waiting == 0 && len(in.lingering) == 0 && !in.anyDirty()
}

// wants tells how an item of the symbol is to be counted.
func (in *interest) wants(s symbol) figure {
	switch {
	case in.count[s] > 0:
		return itemsWanted
	case in.wanted[s]:
		return itemsLingering
	}
	return itemsUseless
}

func testInterest() (in *interest, waited *[]time.Duration) {
	waited = &[]time.Duration{}
	return &interest{m: newMarket(), served: func(d time.Duration) { *waited = append(*waited, d) }}, waited
}

const testBucket subject.Bucket = "sim-000000-0"

// request reads what a change sends, which the registry would take.
func (c *change) request(t *testing.T) (r control.InterestRequest) {
	t.Helper()
	if c == nil {
		t.Fatal("no change")
	}
	if err := json.Unmarshal(c.payload, &r); err != nil {
		t.Fatalf("%s: %v", c.payload, err)
	}
	if err := r.Validate(); err != nil {
		t.Fatal(err)
	}
	for i, p := range c.parts {
		if set := r.Parts[p]; set.Digest() != c.digests[i] {
			t.Errorf("digest of part %d", p)
		}
	}
	if len(r.Parts) != len(c.parts) || r.Number != c.number || r.Bucket != testBucket {
		t.Errorf("%s is not %+v", c.payload, c)
	}
	return r
}

// settle has a change answered and confirmed.
func (in *interest) settle(t *testing.T, c *change, now int64) {
	t.Helper()
	if c == nil {
		t.Fatal("no change")
	}
	in.answer(c.number)
	numbers := in.confirmed
	for _, p := range c.parts {
		numbers[p] = c.number
	}
	in.confirm(&numbers, now)
}

func TestInterestTellsWholeParts(t *testing.T) {
	in, waited := testInterest()
	p := in.m.part[0]
	other := in.m.parts[p][1]
	in.add(0, 1)
	c := in.next(testBucket, 1)
	if r := c.request(t); r.Number != 1 || len(r.Parts) != 1 || len(r.Parts[p]) != 1 {
		t.Fatalf("%+v", r)
	}
	// What comes meanwhile goes with the next change, one at a time.
	in.add(other, 2)
	if again := in.next(testBucket, 3); again != nil {
		t.Errorf("a second change in flight: %+v", again)
	}
	if again := in.next(testBucket, 1+int64(answerTime)); again != c {
		t.Errorf("not sent again without an answer: %+v", again)
	}
	if again := in.next(testBucket, 1+2*int64(answerTime)); again != c {
		t.Errorf("not sent again without an answer: %+v", again)
	}
	if again := in.next(testBucket, 1+3*int64(answerTime)); again != nil {
		t.Error("sent again as soon as before")
	}
	in.settle(t, c, 5)
	if !slices.Equal(*waited, []time.Duration{4}) {
		t.Errorf("served after %v", *waited)
	}
	c = in.next(testBucket, 6)
	if r := c.request(t); r.Number != 2 || len(r.Parts[p]) != 2 {
		t.Fatalf("%+v", r)
	}
	in.settle(t, c, 7)
	if in.next(testBucket, 8) != nil || !in.settled() || in.symbols != 2 {
		t.Error("not settled")
	}
}

// A crowd that wants what its bucket has, or goes and comes back soon, tells nothing.
func TestInterestIsQuietInASteadyCrowd(t *testing.T) {
	in, _ := testInterest()
	in.add(7, 1)
	in.settle(t, in.next(testBucket, 1), 2)
	for range 100 {
		in.add(7, 3)
	}
	for range 101 {
		in.remove(7, 4)
	}
	in.sweep(4 + int64(linger) - 1)
	in.add(7, 5)
	in.sweep(4 + int64(linger))
	if c := in.next(testBucket, 7); c != nil {
		t.Errorf("%+v", c)
	}
	in.remove(7, 10)
	if in.wants(7) != itemsLingering {
		t.Error("it does not linger")
	}
	in.sweep(10 + int64(linger))
	c := in.next(testBucket, 10+int64(linger)+int64(confirmTime))
	if r := c.request(t); len(r.Parts) != 1 || len(r.Parts[in.m.part[7]]) != 0 || in.wants(7) != itemsUseless {
		t.Errorf("it is not let go: %+v", r)
	}
}

// A symbol that was let go before any router confirmed it leaves nothing behind.
func TestInterestForgetsWhoWaited(t *testing.T) {
	in, _ := testInterest()
	in.add(0, 1)
	in.next(testBucket, 1)
	in.remove(0, 2)
	now := 2 + int64(linger)
	in.sweep(now)
	c := in.next(testBucket, now) // unconfirmed for long: the next one takes its place
	if r := c.request(t); r.Number != 2 || len(r.Parts[in.m.part[0]]) != 0 {
		t.Fatalf("%+v", r)
	}
	in.settle(t, c, now)
	if in.next(testBucket, now) != nil || !in.settled() {
		t.Errorf("not settled: %d wait", in.waiting)
	}
}

// A change that no router confirms goes out again with the next one.
func TestInterestRepeatsWhatIsNotConfirmed(t *testing.T) {
	in, _ := testInterest()
	in.add(0, 1)
	c := in.next(testBucket, 1)
	in.answer(c.number)
	second := symbol(slices.IndexFunc(in.m.part, func(p int) bool { return p != in.m.part[0] }))
	in.add(second, 2)
	if in.next(testBucket, 3) != nil {
		t.Error("the next change does not wait")
	}
	c = in.next(testBucket, 1+int64(confirmTime))
	if r := c.request(t); len(r.Parts) != 2 {
		t.Fatalf("%+v", r)
	}
	in.settle(t, c, 4)
	in.next(testBucket, 5)
	in.resend()
	if r := in.next(testBucket, 6).request(t); len(r.Parts) != subject.Parts {
		t.Errorf("%+v", r)
	}
}
