package bucket

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/trace"

	"github.com/tickfan/tickfan/libs/telemetry"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
)

// What the worker asks, as tokens of its inbox.
const (
	askInterest = "interest"
	askNewest   = "newest"
	askRange    = "range"
)

const (
	// linger is how long a topic that nobody needs any more is still wanted upstream, so that flapping clients do not
	// flap the registry.
	linger = 5 * time.Second
	// remember is how long the position of an unwanted topic is kept, so that a router that lags behind the one that
	// served it last cannot turn a price back.
	remember = time.Minute
	// answerTime is how long the registry may take before it is asked again. Then it may take as long as it has taken so far,
	// up to answerMost: one that has more to do than it can do would else get most of it twice.
	answerTime = 300 * time.Millisecond
	answerMost = 8 * answerTime
	// confirmTime is how long a router may take to confirm before the next change leaves without it.
	confirmTime = time.Second
	// changeMost symbols, and what remains of the part in which they are reached, go into one change: some 600 KB, of the
	// 1 MB that NATS takes. The rest goes with the next.
	changeMost = 10000
)

// interest is what this bucket wants of the region's routers. It goes to the registry as whole sets, one per part, one
// change at a time: the next change leaves when a batch confirms the last one, or after a second, with the last one's
// parts again. So changes coalesce by themselves, and repeating one does no harm.
type interest struct {
	number uint64 // of the last change
	parts  [subject.Parts]map[*topic]struct{}
	dirty  [subject.Parts]bool
	turn   int // part that the next change begins with
	change *change

	unused  []*topic // wanted upstream for longer than needed: until linger is over
	removed []*topic // not wanted any more, kept for their position
}

// change is the one in flight.
type change struct {
	number   uint64
	parts    []int
	digests  []uint32 // of parts
	payload  []byte
	since    int64 // first sent
	sent     int64 // last sent
	heard    int64 // somebody who could answer has been there since
	answered bool
	span     trace.Span  // nil: no subscribe that waits for it is traced
	header   nats.Header // of span
}

// answered is a part as the registry has answered for it.
type answered struct {
	number uint64
	digest uint32
}

func (in *interest) init() {
	for i := range in.parts {
		in.parts[i] = map[*topic]struct{}{}
	}
}

func (in *interest) add(t *topic) { in.parts[t.part][t] = struct{}{} }

// resend has every part sent again under a new number, those also that are empty by now: the registry may know an older
// set of them, and says that a part is lost until it stands there as the edge was told. What is on its way to it anyway need
// not be sent anew: a registry that has lost all has enough to do.
func (b *Bucket) resend() {
	in := &b.interest
	for p := range b.written {
		if c := in.change; c != nil && !c.answered && slices.Contains(c.parts, p) {
			continue
		}
		if len(in.parts[p]) > 0 || b.written[p].Load() != nil {
			in.dirty[p] = true
		}
	}
}

// need is how the topic is wanted by those who subscribe to it now.
func (t *topic) need() control.Flag {
	switch {
	case t.every > 0:
		return control.Every
	case len(t.subs)+t.holds > 0:
		return control.Latest
	}
	return ""
}

func less(a, b control.Flag) bool { return rank(a) < rank(b) }

func rank(f control.Flag) int {
	switch f {
	case control.Every:
		return 2
	case control.Latest:
		return 1
	}
	return 0
}

// needed is called when somebody more needs t.
func (b *Bucket) needed(t *topic) {
	if less(t.wanted, t.need()) {
		b.interest.dirty[t.part] = true
	} else if t.need() == t.wanted {
		t.unused = 0
	}
}

// released is called when somebody less needs t.
func (b *Bucket) released(t *topic, now int64) {
	switch need := t.need(); {
	case less(need, t.wanted) && t.unused == 0:
		t.unused = now
		if !t.lingers {
			t.lingers = true
			b.interest.unused = append(b.interest.unused, t)
		}
	case need == "" && t.wanted == "": // it was let go before it was ever asked for
		b.leave(t, now)
	}
	if t.every == 0 && t.wanted != control.Every { // its readers left before the routers were told of them
		t.ring = nil
	}
}

// leave puts a topic that is not wanted any more on the list of those to be forgotten.
func (b *Bucket) leave(t *topic, now int64) {
	t.unused = now
	if !t.leaves {
		t.leaves = true
		b.interest.removed = append(b.interest.removed, t)
	}
}

// sweepTopics ends what has lingered long enough.
func (b *Bucket) sweepTopics(now int64) {
	in := &b.interest
	keep := in.unused[:0]
	for _, t := range in.unused {
		switch {
		case t.unused == 0 || !less(t.need(), t.wanted): // needed again
			t.unused, t.lingers = 0, false
		case now-t.unused < int64(linger):
			keep = append(keep, t)
		default:
			t.lingers = false
			in.dirty[t.part] = true
		}
	}
	clear(in.unused[len(keep):])
	in.unused = keep

	kept := in.removed[:0]
	for _, t := range in.removed {
		switch {
		case t.wanted != "" || t.need() != "":
			t.leaves = false
		case t.priced() && now-t.unused < int64(remember):
			kept = append(kept, t)
		default:
			delete(b.topics, t.symbol)
			b.unnumber(t)
			delete(in.parts[t.part], t)
		}
	}
	clear(in.removed[len(kept):])
	in.removed = kept
}

// syncInterest sends the next change if there is one and its turn has come.
func (b *Bucket) syncInterest(now int64) {
	in := &b.interest
	if c := in.change; c != nil {
		confirmed := b.feed.confirms(c)
		switch {
		case confirmed && c.answered:
			in.change = nil
		case !in.anyDirty() || !confirmed && now-c.since < int64(confirmTime):
			// A router confirms what was announced. Only the answer says that it stands in KV too.
			if !c.answered && now-c.sent >= c.wait() {
				b.sendChange(c, now)
			}
			return
		default:
			c.endChange(errUnanswered)
			for _, p := range c.parts {
				in.dirty[p] = true
			}
		}
	}
	if !in.anyDirty() {
		return
	}
	in.number++
	req := control.InterestRequest{Bucket: b.o.ID, Number: in.number, Parts: map[int]control.Set{}}
	c := &change{number: in.number, since: now, heard: now}
	for i, n := 0, 0; i < subject.Parts && n < changeMost; i++ {
		p := in.turn
		in.turn = (in.turn + 1) % subject.Parts
		if in.dirty[p] {
			in.dirty[p] = false
			set := b.partSet(p, now)
			req.Parts[p] = set
			c.parts, c.digests = append(c.parts, p), append(c.digests, set.Digest())
			n += len(set)
		}
	}
	payload, err := json.Marshal(&req)
	if err != nil {
		panic("bucket: interest does not encode: " + err.Error()) // strings and integers
	}
	c.payload = payload
	in.change = c
	b.traceChange(c)
	b.sendChange(c, now)
}

func (in *interest) anyDirty() bool {
	for _, d := range in.dirty {
		if d {
			return true
		}
	}
	return false
}

// partSet is the part's whole set as it is wanted now; each topic notes what has been asked for it and by which change.
func (b *Bucket) partSet(p int, now int64) control.Set {
	in := &b.interest
	set := control.Set{}
	for t := range in.parts[p] {
		want := t.need()
		if less(want, t.wanted) && t.lingers {
			want = t.wanted
		}
		if want != t.wanted {
			b.changeWanted(t, want, now)
		}
		if want != "" {
			set[t.symbol] = want
		}
	}
	return set
}

func (b *Bucket) changeWanted(t *topic, want control.Flag, now int64) {
	if t.wanted == "" {
		b.symbols.Add(1)
	}
	if t.wanted == control.Every {
		t.ring = nil // nobody reads it: need would be every
	}
	t.wanted, t.number, t.unused = want, b.interest.number, 0
	if want == "" {
		b.symbols.Add(-1)
		t.live = false
		b.leave(t, now)
	}
}

// wait is how long to wait for an answer after sent.
func (c *change) wait() int64 { return min(max(int64(answerTime), c.sent-c.heard), int64(answerMost)) }

func (b *Bucket) sendChange(c *change, now int64) {
	c.sent = now
	b.request(subject.Registry(b.o.Region, subject.EndpointInterest), askInterest, c.number, c.payload, c.header)
}

// request publishes with a reply that comes back on the worker's inbox. A publish that fails is one that was not
// answered: it is repeated when its time is up.
func (b *Bucket) request(subj, what string, id uint64, payload []byte, header nats.Header) {
	m := &nats.Msg{Subject: subj, Reply: b.inbox + "." + what + "." + strconv.FormatUint(id, 10), Data: payload, Header: header}
	if err := b.o.NATS.PublishMsg(m); err != nil {
		b.o.Stats.RequestErrors.Add(1)
	}
}

// interestAnswered takes the registry's answer: the change stands in KV, so a router knows it or will at once.
func (b *Bucket) interestAnswered(m *nats.Msg, number uint64, now int64) {
	c := b.interest.change
	if c == nil || c.number != number || c.answered {
		return
	}
	if noResponders(m) {
		c.heard = now
		return
	}
	var a control.InterestAnswer
	if err := json.Unmarshal(m.Data, &a); err != nil {
		b.warn("registry's answer cannot be read", "error", err)
		return
	}
	if a.Error != nil {
		b.o.Stats.RequestErrors.Add(1)
		if c.span != nil {
			telemetry.Fail(c.span, a.Error)
		}
		b.warn("registry refuses interest; asked again", "number", number, "code", a.Error.Code, "error", a.Error.Message)
		return
	}
	c.answered = true
	if c.span != nil {
		c.span.End()
	}
	var added []subject.Symbol
	for i, p := range c.parts {
		b.written[p].Store(&answered{number, c.digests[i]})
		for t := range b.interest.parts[p] {
			if t.wanted != "" && !t.live {
				added = append(added, t.symbol)
			}
		}
	}
	b.feed.ask(b, added, now)
}

// noResponders tells NATS's own answer that nobody listens from one of somebody.
func noResponders(m *nats.Msg) bool { return len(m.Data) == 0 && m.Header.Get("Status") == "503" }

// cutPrefix is strings.CutPrefix for "<prefix>.rest".
func cutPrefix(s, prefix string) (rest string, ok bool) {
	if rest, ok = strings.CutPrefix(s, prefix); ok {
		return strings.CutPrefix(rest, ".")
	}
	return "", false
}

func cutToken(s string) (token, rest string, ok bool) { return strings.Cut(s, ".") }
