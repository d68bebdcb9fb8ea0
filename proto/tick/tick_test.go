package tick

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/wire"
)

func btc() Tick {
	return Tick{Symbol: "BTC-USD", Position: Position{1763769600, 1042}, At: 1763769600123999, Quote: Quote{
		Price: MustDecimal("64123.51"), Bid: MustDecimal("64123.50"), Ask: MustDecimal("64123.52"), TS: 1763769600123456}}
}

func full() Tick {
	t := btc()
	t.Prev, t.Again = Position{1763769000, 77}, true
	for i, d := range t.Fields() {
		*d = NewDecimal(uint64(i+1)*111, i)
	}
	return t
}

func ticks() []Tick {
	first := Tick{Symbol: "A", Position: Position{1, 1}, Quote: Quote{Price: MustDecimal("0.000000000001")}}
	hole := Tick{Symbol: "NEW_USD-PERP", Position: Position{1 << 40, 1 << 50}, At: -1, Quote: Quote{
		Price: MustDecimal("999999999999999999"), Volume: MustDecimal("0.00"), TS: 1 << 52}}
	return []Tick{btc(), full(), first, hole}
}

func TestPositionAfter(t *testing.T) {
	order := []Position{{}, {1, 1}, {1, 2}, {2, 1}, {2, 2}, {3, 1}}
	for i, p := range order {
		for j, q := range order {
			if p.After(q) != (i > j) {
				t.Errorf("%v after %v: %v", p, q, p.After(q))
			}
		}
	}
}

func TestFieldsGoWithNames(t *testing.T) {
	if len(slices.Compact(slices.Sorted(slices.Values(Names[:])))) != Decimals {
		t.Errorf("names are not distinct: %v", Names)
	}
	q := full().Quote
	for i, d := range q.Fields() {
		if *d != NewDecimal(uint64(i+1)*111, i) {
			t.Errorf("field %s is %v", Names[i], *d)
		}
	}
}

func TestTickRoundTrip(t *testing.T) {
	for _, in := range ticks() {
		p := in.Append([]byte("head"))
		if !bytes.HasPrefix(p, []byte("head")) {
			t.Fatalf("%s: does not append", in.Symbol)
		}
		p = p[4:]
		out, err := Decode(p)
		if err != nil || out != in {
			t.Errorf("%s: %+v, %v\nwant %+v", in.Symbol, out, err, in)
		}
		h, err := DecodeHead(p)
		if err != nil || string(h.Symbol) != string(in.Symbol) || h.Position != in.Position || h.Prev != in.Prev || h.At != in.At || h.Again != in.Again {
			t.Errorf("%s: head %+v, %v", in.Symbol, h, err)
		}
		for cut := range p {
			if _, err := Decode(p[:cut]); err == nil {
				t.Errorf("%s: decodes from %d of %d bytes", in.Symbol, cut, len(p))
			}
			if _, err := DecodeHead(p[:cut]); err == nil {
				t.Errorf("%s: head decodes from %d of %d bytes", in.Symbol, cut, len(p))
			}
		}
		clear(p)
		if out != in {
			t.Errorf("%s: the tick changed with the payload", in.Symbol)
		}
	}
}

func TestDecodeIgnoresFurtherElements(t *testing.T) {
	in := full()
	p := in.Append(nil)
	r := wire.NewReader(p)
	n := r.Array()
	longer := append(wire.AppendArray(nil, n+2), p[r.Pos():]...)
	longer = wire.AppendStr(wire.AppendMap(longer, 0), "later")
	out, err := Decode(longer)
	if err != nil || out != in {
		t.Errorf("%+v, %v", out, err)
	}
	if h, err := DecodeHead(longer); err != nil || h.Position != in.Position {
		t.Errorf("%+v, %v", h, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	build := func(mod func(*Tick)) []byte {
		in := btc()
		mod(&in)
		return in.Append(nil)
	}
	p := build(func(*Tick) {})
	swap := func(from, to string) []byte { return bytes.Replace(p, []byte(from), []byte(to), 1) }
	for name, c := range map[string]struct {
		p    []byte
		says string
	}{
		"empty":           {nil, "ends early"},
		"text":            {[]byte(`{"price":1}`), "another type"},
		"another kind":    {(&BeatMsg{Epoch: 1}).Append(nil), "kind 2, want 1"},
		"symbol":          {build(func(t *Tick) { t.Symbol = "btc" }), `symbol "btc"`},
		"epoch 0":         {build(func(t *Tick) { t.Epoch = 0 }), "position 0/1042"},
		"seq 0":           {build(func(t *Tick) { t.Seq = 0 }), "position 1763769600/0"},
		"price 0":         {build(func(t *Tick) { t.Price = MustDecimal("0") }), "no price"},
		"no price":        {build(func(t *Tick) { t.Price = 0 }), "no price"},
		"no decimals":     {build(func(t *Tick) { t.Quote = Quote{} }), "9 elements, want 10"},
		"price not right": {swap("64123.51", "64123,51"), "price: not a decimal"},
		"bid not right":   {swap("64123.50", "-4123.50"), "bid: not a decimal"},
		"more":            {append(slices.Clone(p), 0), "1 bytes after the end"},
	} {
		if out, err := Decode(c.p); err == nil || !strings.Contains(err.Error(), c.says) || out != (Tick{}) {
			t.Errorf("%s: %+v, %v, want an error with %q", name, out, err, c.says)
		}
	}
}

func TestBatchRoundTrip(t *testing.T) {
	in := Batch{Router: "router-1", Number: 7, BeatAge: NoBeat}
	for i := range in.Interest {
		in.Interest[i] = uint64(i * i * 1000)
	}
	for _, tk := range ticks() {
		in.Items = append(in.Items, tk.Append(nil))
	}
	in.Items = append(in.Items, wire.AppendStr(wire.AppendUint(wire.AppendArray(nil, 2), 200), "a later kind"))
	p := in.Append(nil)
	var out Batch
	for range 2 { // the second time into used memory
		if err := out.Decode(p); err != nil {
			t.Fatal(err)
		}
		if out.Router != in.Router || out.Number != in.Number || out.BeatAge != in.BeatAge || out.Interest != in.Interest ||
			!slices.EqualFunc(out.Items, in.Items, bytes.Equal) {
			t.Fatalf("%+v\nwant %+v", out, in)
		}
	}
	if err := out.Decode((&Batch{Router: "router-2", Number: 1}).Append(nil)); err != nil || out.Router != "router-2" || len(out.Items) != 0 || out.Interest[15] != 0 {
		t.Errorf("an empty batch after it: %+v, %v", out, err)
	}
	for cut := range p {
		if err := out.Decode(p[:cut]); err == nil || len(out.Items) != 0 {
			t.Fatalf("decodes from %d of %d bytes", cut, len(p))
		}
	}
	if err := out.Decode(append(p, 0xc0)); err == nil {
		t.Error("takes what follows the batch")
	}
}

func TestBeatRoundTrip(t *testing.T) {
	in := BeatMsg{Epoch: 1763769600, Count: 1 << 40, Time: 1763769600123456}
	p := in.Append(nil)
	if out, err := DecodeBeat(p); err != nil || out != in {
		t.Errorf("%+v, %v", out, err)
	}
	for cut := range p {
		if _, err := DecodeBeat(p[:cut]); err == nil {
			t.Errorf("decodes from %d of %d bytes", cut, len(p))
		}
	}
}

func TestNewestRoundTrip(t *testing.T) {
	for name, symbols := range map[string][]subject.Symbol{"all": nil, "none": {}, "two": {"BTC-USD", "ETH-USD"}} {
		p := (&NewestRequest{Symbols: symbols}).Append(nil)
		out, err := DecodeNewestRequest(p)
		if err != nil || (out.Symbols == nil) != (symbols == nil) || !slices.Equal(out.Symbols, symbols) {
			t.Errorf("%s: %#v, %v", name, out, err)
		}
	}
	tk := btc()
	in := NewestAnswer{Last: true, Ticks: [][]byte{tk.Append(nil)}, Missing: []subject.Symbol{"NEW-USD"}}
	p := in.Append(nil)
	out, err := DecodeNewestAnswer(p)
	if err != nil || !out.Last || !slices.EqualFunc(out.Ticks, in.Ticks, bytes.Equal) || !slices.Equal(out.Missing, in.Missing) {
		t.Errorf("%+v, %v", out, err)
	}
	for cut := range p {
		if _, err := DecodeNewestAnswer(p[:cut]); err == nil {
			t.Errorf("decodes from %d of %d bytes", cut, len(p))
		}
	}
	if _, err := DecodeNewestRequest((&NewestRequest{Symbols: []subject.Symbol{"btc"}}).Append(nil)); err == nil {
		t.Error("takes a symbol in lower case")
	}
}

func TestRangeRoundTrip(t *testing.T) {
	good := Range{Symbol: "BTC-USD", Epoch: 1763769600, From: 1040, To: 1041}
	in := NewestRequest{Range: good}
	p := in.Append(nil)
	if out, err := DecodeNewestRequest(p); err != nil || out.Range != good || out.Symbols != nil {
		t.Errorf("%+v, %v", out, err)
	}
	for cut := range p {
		if _, err := DecodeNewestRequest(p[:cut]); err == nil {
			t.Errorf("decodes from %d of %d bytes", cut, len(p))
		}
	}
	tk := btc()
	for _, lack := range []Lack{Nothing, Gone, Ahead, Refused, 255} {
		a := NewestAnswer{Last: true, Ticks: [][]byte{tk.Append(nil)}, Lack: lack}
		out, err := DecodeNewestAnswer(a.Append(nil))
		if err != nil || out.Lack != lack || !out.Last || len(out.Ticks) != 1 || len(out.Missing) != 0 {
			t.Errorf("lack %d: %+v, %v", lack, out, err)
		}
	}
}

func TestRangeCheck(t *testing.T) {
	const most = 1<<53 - 1
	for _, c := range []struct {
		g  Range
		ok bool
	}{
		{Range{"A", 1, 1, 1}, true},
		{Range{"A", most, most, most}, true},
		{Range{"A", 1, 5, 5 + MaxRange - 1}, true},
		{Range{"A", 1, 5, 5 + MaxRange}, false},
		{Range{"A", 1, 5, 4}, false},
		{Range{"A", 1, 0, 4}, false},
		{Range{"A", 0, 1, 4}, false},
		{Range{"A", 1, 0, math.MaxUint64}, false},
		{Range{"A", 1, most, most + 1}, false},
		{Range{"A", most + 1, 1, 1}, false},
	} {
		err := c.g.Check()
		if (err == nil) != c.ok || err != nil && code.Of(err).Code != code.BadRange {
			t.Errorf("%+v: %v", c.g, err)
		}
		if _, err := DecodeNewestRequest((&NewestRequest{Range: c.g}).Append(nil)); (err == nil) != c.ok {
			t.Errorf("%+v is decoded: %v", c.g, err)
		}
	}
}

// TestNoAllocations: these run for every tick, so none may allocate once its buffer has grown.
func TestNoAllocations(t *testing.T) {
	tk := full()
	buf := make([]byte, 0, 4096)
	p := tk.Append(nil)
	batch := Batch{Router: "router-1", Number: 1, Items: [][]byte{p, p, p}}
	encoded := batch.Append(nil)
	beat := (&BeatMsg{Epoch: 1763769600, Count: 5, Time: 6}).Append(nil)
	for name, f := range map[string]func(){
		"Tick.Append":  func() { buf = tk.Append(buf[:0]) },
		"DecodeHead":   func() { _, _ = DecodeHead(p) },
		"Batch.Append": func() { buf = batch.Append(buf[:0]) },
		"Batch.Decode": func() { _ = batch.Decode(encoded) },
		"DecodeBeat":   func() { _, _ = DecodeBeat(beat) },
		"ParseDecimal": func() { _, _ = ParseDecimal("64123.51") },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = Decode(p) }); n > 1 {
		t.Errorf("Decode: %v allocations, want 1, the symbol", n)
	}
}

func FuzzDecode(f *testing.F) {
	for _, t := range ticks() {
		f.Add(t.Append(nil))
	}
	f.Add([]byte("\x9a\x01\xa1A\x01\x01\x00\x00\x00\x00\x00\xa11"))
	f.Fuzz(func(t *testing.T, p []byte) {
		tk, err := Decode(p)
		h, herr := DecodeHead(p)
		if err == nil && herr != nil {
			t.Fatalf("the tick decodes, its head does not: %v", herr)
		}
		if err != nil {
			return
		}
		if string(h.Symbol) != string(tk.Symbol) || h.Position != tk.Position || h.Prev != tk.Prev || h.At != tk.At || h.Again != tk.Again {
			t.Fatalf("head %+v of tick %+v", h, tk)
		}
		again, err := Decode(tk.Append(nil))
		if err != nil || again != tk {
			t.Fatalf("%+v comes back as %+v, %v", tk, again, err)
		}
	})
}

func FuzzBatchDecode(f *testing.F) {
	tk := btc()
	f.Add((&Batch{Router: "r", Number: 1, BeatAge: 5, Items: [][]byte{tk.Append(nil), {0xc0}}}).Append(nil))
	f.Add((&Batch{BeatAge: NoBeat}).Append(nil))
	f.Add([]byte("\x96\x03\xa0\x01\x00\xdc\x00\x10"))
	f.Fuzz(func(t *testing.T, p []byte) {
		var b, again Batch
		if err := b.Decode(p); err != nil {
			if len(b.Items) != 0 {
				t.Fatalf("%d items with error %v", len(b.Items), err)
			}
			return
		}
		if err := again.Decode(b.Append(nil)); err != nil || fmt.Sprint(again) != fmt.Sprint(b) {
			t.Fatalf("%+v comes back as %+v, %v", b, again, err)
		}
	})
}

func FuzzDecodeBeat(f *testing.F) {
	f.Add((&BeatMsg{Epoch: 1763769600, Count: 5, Time: -6}).Append(nil))
	f.Add((&BeatMsg{}).Append(nil))
	f.Fuzz(func(t *testing.T, p []byte) {
		if m, err := DecodeBeat(p); err == nil {
			if again, err := DecodeBeat(m.Append(nil)); err != nil || again != m {
				t.Fatalf("%+v comes back as %+v, %v", m, again, err)
			}
		}
	})
}

func FuzzDecodeNewest(f *testing.F) {
	tk := btc()
	f.Add((&NewestRequest{}).Append(nil))
	f.Add((&NewestRequest{Symbols: []subject.Symbol{"BTC-USD", "A"}}).Append(nil))
	f.Add((&NewestRequest{Range: Range{Symbol: "BTC-USD", Epoch: 7, From: 1, To: 1000}}).Append(nil))
	f.Add((&NewestAnswer{Last: true, Lack: Refused}).Append(nil))
	f.Add((&NewestAnswer{Last: true, Ticks: [][]byte{tk.Append(nil)}, Missing: []subject.Symbol{"NEW-USD"}}).Append(nil))
	f.Fuzz(func(t *testing.T, p []byte) {
		if m, err := DecodeNewestRequest(p); err == nil {
			if again, err := DecodeNewestRequest(m.Append(nil)); err != nil || !slices.Equal(again.Symbols, m.Symbols) || (again.Symbols == nil) != (m.Symbols == nil) || again.Range != m.Range {
				t.Fatalf("%+v comes back as %+v, %v", m, again, err)
			}
		}
		if m, err := DecodeNewestAnswer(p); err == nil {
			if again, err := DecodeNewestAnswer(m.Append(nil)); err != nil || fmt.Sprint(again) != fmt.Sprint(m) {
				t.Fatalf("%+v comes back as %+v, %v", m, again, err)
			}
		}
	})
}
