package route

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

// ask gives the whole answer and the number of messages it came in.
func (b *bench) ask(symbols []subject.Symbol) (seqs map[string]uint64, missing []subject.Symbol, messages int) {
	b.t.Helper()
	b.sent = nil
	b.Newest("router.local.newest", "_INBOX.x", (&tick.NewestRequest{Symbols: symbols}).Append(nil))
	seqs = map[string]uint64{}
	for i, m := range b.sent {
		expect(b.t, "subject", m.subject, "_INBOX.x")
		if len(m.data) > tick.MaxPayload {
			b.t.Errorf("message %d has %d bytes, more than %d", i, len(m.data), tick.MaxPayload)
		}
		a, err := tick.DecodeNewestAnswer(m.data)
		if err != nil {
			b.t.Fatal(err)
		}
		if last := i == len(b.sent)-1; a.Last != last {
			b.t.Errorf("message %d of %d: last is %v", i, len(b.sent), a.Last)
		}
		for _, p := range a.Ticks {
			h, err := tick.DecodeHead(p)
			if err != nil {
				b.t.Fatal(err)
			}
			seqs[string(h.Symbol)] = h.Seq
		}
		missing = append(missing, a.Missing...)
	}
	return seqs, missing, len(b.sent)
}

func TestNewest(t *testing.T) {
	b := newBench(t)
	if seqs, missing, messages := b.ask(nil); len(seqs)+len(missing) > 0 || messages != 1 {
		t.Fatalf("of an empty table: %v, %v in %d messages", seqs, missing, messages)
	}
	b.publishTick("BTC-USD", 1, 1)
	b.publishTick("BTC-USD", 1, 2)
	b.publishTick("ETH-USD", 1, 7)
	for _, c := range []struct {
		ask     []subject.Symbol
		seqs    map[string]uint64
		missing []subject.Symbol
	}{
		{nil, map[string]uint64{"BTC-USD": 2, "ETH-USD": 7}, nil},
		{[]subject.Symbol{}, map[string]uint64{}, nil},
		{[]subject.Symbol{"ETH-USD"}, map[string]uint64{"ETH-USD": 7}, nil},
		{[]subject.Symbol{"X", "BTC-USD", "Y"}, map[string]uint64{"BTC-USD": 2}, []subject.Symbol{"X", "Y"}},
	} {
		seqs, missing, messages := b.ask(c.ask)
		if !maps.Equal(seqs, c.seqs) || !slices.Equal(missing, c.missing) || messages != 1 {
			t.Errorf("%v: %v, missing %v in %d messages; want %v, %v in 1", c.ask, seqs, missing, messages, c.seqs, c.missing)
		}
	}
}

// A range is handed on; nothing of it is answered here.
func TestRangeIsHandedOn(t *testing.T) {
	b := newBench(t)
	b.publishTick("BTC-USD", 1, 2)
	g := tick.Range{Symbol: "BTC-USD", Epoch: 1, From: 1, To: 2}
	p := (&tick.NewestRequest{Range: g}).Append(nil)
	b.Newest("router.local.newest", "_INBOX.x", p)
	b.Newest("router.local.newest", "", p)
	if want := []string{fmt.Sprint(g, " to _INBOX.x")}; !slices.Equal(b.ranges, want) || len(b.sent) > 0 {
		t.Errorf("handed on %q, want %q; %d messages sent", b.ranges, want, len(b.sent))
	}
	if n := b.Stats().Malformed[KindNewest].Load(); n != 1 {
		t.Errorf("%d malformed, want the one without a reply", n)
	}
}

func TestLargeAnswerIsSplit(t *testing.T) {
	b := newBench(t)
	var ask []subject.Symbol
	const n = 5000
	for i := range n {
		s := subject.Symbol(fmt.Sprintf("%s-%d", strings.Repeat("S", 20), i))
		b.publishTick(s, 1, 1)
		ask = append(ask, s, subject.Symbol(fmt.Sprintf("%s-%d", strings.Repeat("M", 26), i)))
	}
	seqs, _, messages := b.ask(nil)
	if len(seqs) != n || messages < 2 {
		t.Fatalf("all: %d ticks in %d messages", len(seqs), messages)
	}
	seqs, missing, messages := b.ask(ask)
	if len(seqs) != n || len(missing) != n || messages < 3 {
		t.Fatalf("some: %d ticks, %d missing in %d messages", len(seqs), len(missing), messages)
	}
}
