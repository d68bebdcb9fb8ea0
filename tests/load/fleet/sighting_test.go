package fleet

import (
	"strings"
	"testing"

	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

// formats are those that have a scanner.
func formats() []session.Format { return []session.Format{session.JSON, session.MessagePack} }

// scan reads p with the scanner of a format.
func (s *sighting) scan(f session.Format, p []byte) bool {
	if f == session.MessagePack {
		return s.scanMsgpack(p)
	}
	return s.scanJSON(p)
}

func small() tick.Tick {
	return tick.Tick{Symbol: subject.Symbol(Symbol(42)), Position: tick.Position{Epoch: 1763769600, Seq: 1042},
		Quote: tick.Quote{Price: tick.MustDecimal(Price(4711)), TS: 1763769600123456}}
}

func whole() tick.Tick {
	t := small()
	for i, d := range t.Fields() {
		if i > 0 { // the price stays
			*d = tick.NewDecimal(uint64(i)*1000, i)
		}
	}
	return t
}

func TestScan(t *testing.T) {
	for _, f := range formats() {
		for name, in := range map[string]tick.Tick{"small": small(), "whole": whole()} {
			var s sighting
			p := session.AppendTick(f, nil, &in)
			if !s.scan(f, p) {
				t.Fatalf("%s %s: %q is not recognised", f, name, p)
			}
			n, ok := s.number()
			if string(s.symbol) != string(in.Symbol) || symbolIndex(s.symbol) != 42 || s.epoch != in.Epoch || s.seq != in.Seq ||
				s.ts != in.TS || n != 4711 || !ok {
				t.Errorf("%s %s: %+v, number %d %t", f, name, s, n, ok)
			}
			for i := range p {
				if s.scan(f, p[:i]) {
					t.Errorf("%s %s: the first %d bytes of %q are taken for a tick", f, name, i, p)
				}
			}
			if s.scan(f, append(p, ' ')) {
				t.Errorf("%s %s: a tick with something behind it is taken for one", f, name)
			}
			if n := testing.AllocsPerRun(100, func() { s.scan(f, p) }); n != 0 {
				t.Errorf("%s %s: %v allocations", f, name, n)
			}
		}
		for _, m := range []session.Message{{Op: session.OpFresh}, {Op: session.OpGap, Symbol: "A", Epoch: 1, From: 1},
			{Op: session.OpSubscribed, Symbols: []subject.Symbol{"A"}}} {
			if p := m.Append(f, nil); new(sighting).scan(f, p) {
				t.Errorf("%s: %q is taken for a tick", f, p)
			}
		}
	}
}

func TestNumbers(t *testing.T) {
	for _, n := range []uint64{0, 1, 42, 8_999_999} {
		s := sighting{price: []byte(Price(n))}
		if got, ok := s.number(); got != n || !ok {
			t.Errorf("%s: %d, %t", s.price, got, ok)
		}
	}
	for _, p := range []string{"", "1000042", "1000042.", "1000042.6", "1000042.50", "100004.5", "10000420.5", "0000042.5", "1e00042.5"} {
		s := sighting{price: []byte(p)}
		if n, ok := s.number(); ok {
			t.Errorf("%q carries %d", p, n)
		}
	}
}

func TestSymbols(t *testing.T) {
	for _, n := range []int{0, 7, 10, 49, 123_456_789} {
		if got := symbolIndex([]byte(Symbol(n))); got != n {
			t.Errorf("%s is %d", Symbol(n), got)
		}
	}
	for _, s := range []string{"", "L", "L-USD", "L01-USD", "L1-EUR", "M1-USD", "L1x-USD", "L1-USD-", "L" + strings.Repeat("9", 20) + "-USD"} {
		if n := symbolIndex([]byte(s)); n != -1 {
			t.Errorf("%q is %d", s, n)
		}
	}
}

// FuzzScan holds the scanners against the decoder that clients use.
func FuzzScan(f *testing.F) {
	for _, format := range formats() {
		for _, in := range []tick.Tick{small(), whole()} {
			f.Add(uint8(format), session.AppendTick(format, nil, &in))
		}
		m := session.Message{Op: session.OpTick, Symbol: "A", Epoch: 1, Seq: 2, Bid: tick.MustDecimal("1")}
		f.Add(uint8(format), m.Append(format, nil))
	}
	f.Fuzz(func(t *testing.T, format uint8, p []byte) {
		in := formats()[int(format)%len(formats())]
		var s, decoded sighting
		taken := s.scan(in, p)
		m, err := session.DecodeMessage(in, p)
		if err != nil {
			return // not valid: what the scanner made of it does not count, as long as it came back
		}
		if decoded.take(&m); taken && (m.Op != session.OpTick || string(s.symbol) != string(decoded.symbol) ||
			s.epoch != decoded.epoch || s.seq != decoded.seq || s.ts != decoded.ts || string(s.price) != string(decoded.price)) {
			t.Fatalf("%q: scanned %q %q %+v, decoded %+v", p, s.symbol, s.price, s, m)
		}
		if m.Op != session.OpTick || m.Epoch >= 1e18 || m.Seq >= 1e18 || m.TS < 0 || m.TS >= 1e18 || !m.Price.Given() {
			return
		}
		if _, err := subject.ParseSymbol(string(m.Symbol)); err != nil {
			return
		}
		again := tick.Tick{Symbol: m.Symbol, Position: tick.Position{Epoch: m.Epoch, Seq: m.Seq}, Quote: m.Quote()}
		if p := session.AppendTick(in, nil, &again); !s.scan(in, p) {
			t.Fatalf("%q, as an edge writes it, is not recognised", p)
		}
	})
}

func BenchmarkScan(b *testing.B) {
	for _, f := range formats() {
		in := small()
		p := session.AppendTick(f, nil, &in)
		b.Run("format="+f.String(), func(b *testing.B) {
			b.ReportAllocs()
			var s sighting
			for b.Loop() {
				if !s.scan(f, p) {
					b.Fatal("not recognised")
				}
				if n, ok := s.number(); n != 4711 || !ok {
					b.Fatal(n)
				}
			}
		})
	}
}
