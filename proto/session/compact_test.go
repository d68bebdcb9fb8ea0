package session

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

// sender makes the messages for one client that is sent each tick of each symbol, or those that it is not left out of.
type sender struct {
	symbols map[subject.Symbol]*sent
	d       *Decoder
}

type sent struct {
	number uint32
	digits Digits
	before tick.Tick
}

func newSender(tb testing.TB, first uint32, symbols ...subject.Symbol) *sender {
	tb.Helper()
	s := &sender{symbols: map[subject.Symbol]*sent{}, d: &Decoder{}}
	m := Message{Op: OpSubscribed, Symbols: symbols}
	for i, name := range symbols {
		n := first + uint32(i)
		m.Numbers = append(m.Numbers, n)
		s.symbols[name] = &sent{number: n}
	}
	m, err := DecodeMessage(Compact, m.Append(Compact, nil))
	if err == nil {
		err = s.d.Subscribed(&m)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// append gives the form that an edge would choose.
func (s *sender) append(dst []byte, t *tick.Tick) (p []byte, full bool) {
	k := s.symbols[t.Symbol]
	g := k.digits.Cover(t)
	full = g != k.digits || k.before.Epoch == 0 || !Follows(&k.before, t)
	if full {
		dst = AppendFull(dst, k.number, t, g)
	} else {
		dst = AppendChanged(dst, k.number, &k.before, t, g)
	}
	k.digits, k.before = g, *t
	return dst, full
}

// same fails unless got is all of want that a client sees in JSON, bit for bit.
func same(tb testing.TB, got, want *tick.Tick) {
	tb.Helper()
	if g, w := AppendTick(JSON, nil, got), AppendTick(JSON, nil, want); !bytes.Equal(g, w) {
		tb.Fatalf("got  %s\nwant %s", g, w)
	}
}

func symbolsOf(ticks []tick.Tick) (all []subject.Symbol) {
	for i := range ticks {
		if !slices.Contains(all, ticks[i].Symbol) {
			all = append(all, ticks[i].Symbol)
		}
	}
	return all
}

// Every tick of recorded traffic comes back as JSON would have given it, and an update of Binance's is small.
func TestCompactOnRecordedTraffic(t *testing.T) {
	for _, name := range recordings(t, "*.jsonl.gz") {
		ticks := recorded(t, name)
		s := newSender(t, 1, symbolsOf(ticks)...)
		sizes := map[string][]int{}
		fulls := 0
		for i := range ticks {
			p, full := s.append(nil, &ticks[i])
			if !IsTicks(p) {
				t.Fatalf("%x is taken for a map", p)
			}
			if full {
				fulls++
			}
			got, rest, err := s.d.Next(p)
			if err != nil || len(rest) > 0 {
				t.Fatalf("%s, tick %d: %x: %v, %d bytes left", name, i, p, err, len(rest))
			}
			same(t, got, &ticks[i])
			sizes["compact"] = append(sizes["compact"], len(p))
			sizes["msgpack"] = append(sizes["msgpack"], len(AppendTick(MessagePack, nil, &ticks[i])))
			sizes["json"] = append(sizes["json"], len(AppendTick(JSON, nil, &ticks[i])))
		}
		base := filepath.Base(name)
		t.Logf("%s: %d ticks, %d of them full", base, len(ticks), fulls)
		for _, f := range []string{"compact", "msgpack", "json"} {
			n := sizes[f]
			slices.Sort(n)
			sum := 0
			for _, x := range n {
				sum += x
			}
			t.Logf("  %-8s median %3d, mean %3d.%02d, p99 %3d bytes", f, n[len(n)/2], sum/len(n), sum*100/len(n)%100, n[len(n)*99/100])
		}
		if n := sizes["compact"]; strings.HasPrefix(base, "binance") && n[len(n)/2] > 16 {
			t.Errorf("%s: median of %d bytes, at most 16 are allowed", base, n[len(n)/2])
		}
	}
}

// randomTick makes what may follow t: fields that stay, move, jump, change their scale, come and go.
func randomTick(rng *rand.Rand, t tick.Tick) tick.Tick {
	t.Seq++
	switch rng.IntN(20) {
	case 0:
		t.Seq += rng.Uint64N(1 << rng.IntN(40))
	case 1:
		t.Epoch += 1 + rng.Uint64N(1000)
		t.Seq = 1 + rng.Uint64N(3)
	}
	switch rng.IntN(10) {
	case 0:
		t.TS = int64(rng.Uint64())
	case 1:
		t.TS = rng.Int64N(1<<40) * 1000
	default:
		t.TS += rng.Int64N(1<<rng.IntN(30)) - 5
	}
	for i, d := range t.Fields() {
		switch n := rng.IntN(100); {
		case n < 50:
		case n < 80 && d.Given():
			if c := int64(d.Coef()) + rng.Int64N(2000) - 1000; c > 0 && c < 1e18 {
				*d = tick.NewDecimal(uint64(c), d.Scale())
			}
		case n < 85 && i > 0:
			*d = 0
		case n < 90 && d.Given() && d.Coef()%10 == 0 && d.Scale() > 0 && d.Coef() > 0:
			*d = tick.NewDecimal(d.Coef()/10, d.Scale()-1)
		case n < 93:
			*d = tick.NewDecimal(1+rng.Uint64N(1<<rng.IntN(59)), rng.IntN(tick.MaxFraction+1))
		case n < 94:
			*d = tick.NewDecimal(1e18-1, []int{0, tick.MaxFraction}[rng.IntN(2)])
		case n < 95 && i > 0:
			*d = tick.NewDecimal(0, rng.IntN(tick.MaxFraction+1))
		}
	}
	return t
}

func TestCompactRandomTicks(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, first := range []uint32{1, 127, 128, 8191, 8192, MaxNumber} {
		s := newSender(t, first, "X")
		x := tick.Tick{Symbol: "X", Position: tick.Position{Epoch: 1, Seq: 1}, Quote: tick.Quote{Price: tick.MustDecimal("64123.50"), TS: 1763769600123456}}
		fulls := 0
		for range 20000 {
			x = randomTick(rng, x)
			p, full := s.append([]byte("head"), &x)
			if full {
				fulls++
			}
			got, rest, err := s.d.Next(append(p[4:], "rest"...))
			if err != nil || string(rest) != "rest" {
				t.Fatalf("%x: %v, left %q", p, err, rest)
			}
			same(t, got, &x)
		}
		if fulls > 15000 {
			t.Errorf("%d of 20000 are full: the test hardly sees the changed form", fulls)
		}
	}
}

// The example that PROTOCOL.md works through, byte by byte.
func TestCompactBytes(t *testing.T) {
	s := newSender(t, 5, "BTC-USD")
	for _, c := range []struct {
		seq        uint64
		price, bid string
		ts         int64
		want       string
	}{
		{1042, "64123.51", "64123.50", 1763769600123456, "c1 05 80fa83c906 9208 06 8089d9c7f388a206 03 32 bfb08703 31 d39127"},
		{1043, "64123.60", "64123.50", 1763769600223001, "05 01 b2930c 12"},
		{1045, "64123.6", "", 1763769600223000, "05 8018 03 02 00 02 01"},
	} {
		x := tick.Tick{Symbol: "BTC-USD", Position: tick.Position{Epoch: 1763769600, Seq: c.seq}, Quote: tick.Quote{Price: tick.MustDecimal(c.price), TS: c.ts}}
		if c.bid != "" {
			x.Bid = tick.MustDecimal(c.bid)
		}
		p, _ := s.append(nil, &x)
		if got, want := hex.EncodeToString(p), strings.ReplaceAll(c.want, " ", ""); got != want {
			t.Errorf("seq %d: %s, want %s", c.seq, got, want)
		}
	}
}

func TestCompactIsTicks(t *testing.T) {
	for _, m := range messages() {
		if IsTicks(m.Append(Compact, nil)) {
			t.Errorf("%+v is taken for a tick", m)
		}
	}
	long := Message{Op: OpSubscribed, Symbols: make([]subject.Symbol, 1000)}
	if IsTicks(long.Append(Compact, nil)) || IsTicks(nil) || IsTicks([]byte{0xde, 0, 1}) || IsTicks([]byte{0xdf, 0, 0, 0, 1}) {
		t.Error("a map is taken for a tick")
	}
}

func TestDecoderRefuses(t *testing.T) {
	x := full()
	x.Symbol = "X"
	x.Price = tick.MustDecimal("1.5")
	for i, d := range x.Fields() {
		*d = tick.NewDecimal(uint64(15+i), 1)
	}
	g := Digits(0).Cover(&x)
	y := x
	y.Seq++
	y.Price = tick.MustDecimal("1.6")
	good := AppendFull(nil, 7, &x, g)
	changed := AppendChanged(nil, 7, &x, &y, g)
	for name, p := range map[string]string{
		"empty":                    "",
		"changed before full":      string(changed),
		"another's number":         string(AppendFull(nil, 8, &x, g)),
		"another's, changed":       string(good) + string(AppendChanged(nil, 8, &x, &y, g)),
		"number 0":                 "\x00",
		"a map's number":           "\x81\xa2op",
		"number above 32 bits":     "\xc1\x87\x80\x80\x80\x10" + string(good[2:]),
		"epoch 0":                  "\xc1\x07\x00\x01\x06\x02\x01\x21\x0f",
		"seq 0":                    "\xc1\x07\x01\x00\x06\x02\x01\x21\x0f",
		"no price":                 "\xc1\x07\x01\x01\x06\x02\x00",
		"price 0":                  "\xc1\x07\x01\x01\x06\x02\x01\x21\x00",
		"unknown field":            "\xc1\x07\x01\x01\x06\x02\x81\x08\x21\x0f\x00",
		"13 digits":                "\xc1\x07\x01\x01\x06\x02\x01\x2d\x0f",
		"14 as scale":              "\xc1\x07\x01\x01\x06\x02\x01\xe1\x0f",
		"7 digits of a second":     "\xc1\x07\x01\x01\x07\x02\x01\x21\x0f",
		"not a whole number":       "\xc1\x07\x01\x01\x06\x02\x01\x11\x0f",
		"coefficient of 19 digits": "\xc1\x07\x01\x01\x06\x02\x01\xd0\xff\xff\xff\xff\x0f",
		"value above 2^62":         "\xc1\x07\x01\x01\x06\x02\x01\x11\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
		"number above 64 bits":     "\xc1\x07\x01\x01\x06\x02\x01\x21\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
		"time above 64 bits":       "\xc1\x07\x01\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x01\x21\x0f",
		"price below 0":            string(good) + "\x07\x01\x00\x3f",
		"price gone":               string(good) + "\x07\x80\x10\x01\x00\x00",
		"step 0":                   string(good) + "\x07\x81\x08\x00\x00\x02",
		"step over the end":        string(good) + "\x07\x81\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x02",
		"unknown flag":             string(good) + "\x07\x81\x20\x00\x02",
		"unknown field's scale":    string(good) + "\x07\x80\x10\x80\x08\x02\x00",
		"gone and moved":           string(good) + "\x07\x82\x10\x02\x00\x00\x02",
		"scale 13":                 string(good) + "\x07\x80\x10\x02\x0e\x00",
		"scale that cuts":          string(good) + "\x07\x80\x10\x02\x01\x00",
	} {
		var d Decoder
		if err := d.Subscribed(&Message{Symbols: []subject.Symbol{"X"}, Numbers: []uint32{7}}); err != nil {
			t.Fatal(err)
		}
		rest, left := []byte(p), -1
		if strings.HasPrefix(p, string(good)) {
			var err error
			if _, rest, err = d.Next(rest); err != nil {
				t.Fatal(err)
			}
		}
		var err error
		if _, rest, err = d.Next(rest); err == nil {
			left = len(rest)
			t.Errorf("%s: taken, %d bytes left", name, left)
		}
	}
	for cut := range changed {
		var d Decoder
		if err := d.Subscribed(&Message{Symbols: []subject.Symbol{"X"}, Numbers: []uint32{7}}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := d.Next(good); err != nil {
			t.Fatal(err)
		}
		if _, _, err := d.Next(changed[:cut]); err == nil {
			t.Errorf("%x is taken", changed[:cut])
		}
		if _, _, err := d.Next(changed); err != nil {
			t.Errorf("what is refused leaves a trace: %v", err)
		}
	}
	for cut := range good {
		d := newSender(t, 7, "X").d
		if _, _, err := d.Next(good[:cut]); err == nil {
			t.Errorf("%x is taken", good[:cut])
		}
	}
}

func TestDecoderSubscriptions(t *testing.T) {
	var d Decoder
	subscribed := func(numbers []uint32, symbols ...subject.Symbol) error {
		return d.Subscribed(&Message{Op: OpSubscribed, Symbols: symbols, Numbers: numbers})
	}
	x, y := btc(), btc()
	x.Symbol, y.Symbol = "X", "Y"
	g := Digits(0).Cover(&x)
	take := func(p []byte) error {
		_, _, err := d.Next(p)
		return err
	}
	next := x
	next.Seq++
	steps := []struct {
		name string
		err  error
		bad  bool
	}{
		{"x and y", subscribed([]uint32{1, 2}, "X", "Y"), false},
		{"x in full", take(AppendFull(nil, 1, &x, g)), false},
		{"x changed", take(AppendChanged(nil, 1, &x, &next, g)), false},
		{"x again", subscribed([]uint32{1}, "X"), false},
		{"x changed, without a full one since", take(AppendChanged(nil, 1, &x, &next, g)), true},
		{"y's number for z", subscribed([]uint32{2}, "Z"), true},
		{"one number for two", subscribed([]uint32{3}, "A", "B"), true},
		{"number 0", subscribed([]uint32{0}, "A"), true},
	}
	d.Unsubscribed(&Message{Op: OpUnsubscribed, Symbols: []subject.Symbol{"Y", "NEVER"}})
	steps = append(steps, []struct {
		name string
		err  error
		bad  bool
	}{
		{"y, unsubscribed", take(AppendFull(nil, 2, &y, g)), true},
		{"y's old number for z", subscribed([]uint32{2}, "Z"), false},
	}...)
	for _, s := range steps {
		if (s.err != nil) != s.bad {
			t.Errorf("%s: %v", s.name, s.err)
		}
	}
	var err error
	for i := uint32(0); err == nil; i++ {
		if i > MaxSymbols {
			t.Fatal("grows without bound")
		}
		err = subscribed([]uint32{100 + i}, subject.Symbol(fmt.Sprint("S", i)))
	}
}

// FuzzDecoder: garbage is refused without a panic, and what is taken can be said again and means the same.
func FuzzDecoder(f *testing.F) {
	x := full()
	x.Symbol, x.Price = "X", tick.MustDecimal("1.5")
	y := x
	y.Seq, y.Price, y.Bid, y.TS = x.Seq+2, tick.MustDecimal("1.50"), 0, x.TS+1000
	g := Digits(0).Cover(&x)
	f.Add(AppendFull(nil, 1, &x, g))
	f.Add(AppendChanged(AppendFull(nil, 1, &x, g), 1, &x, &y, g))
	f.Add(AppendChanged(AppendFull(nil, 300, &x, g), 300, &x, &y, g))
	f.Add([]byte{0xc1, 0x80, 0x80, 1})
	f.Fuzz(func(t *testing.T, p []byte) {
		var d, again Decoder
		m := Message{Op: OpSubscribed, Symbols: []subject.Symbol{"X", "Y", "Z"}, Numbers: []uint32{1, 300, 70000}}
		if err := d.Subscribed(&m); err != nil {
			t.Fatal(err)
		}
		if err := again.Subscribed(&m); err != nil {
			t.Fatal(err)
		}
		for len(p) > 0 {
			k, rest, err := d.Next(p)
			if err != nil {
				return
			}
			if len(rest) >= len(p) {
				t.Fatal("nothing is read")
			}
			p = rest
			got, _, err := again.Next(AppendFull(nil, d.numbers[k.Symbol], k, Digits(0).Cover(k)))
			if err != nil || *got != *k {
				t.Fatalf("%+v comes back as %+v, %v", k, got, err)
			}
		}
	})
}

func TestCompactNoAllocations(t *testing.T) {
	x := full()
	x.Price = tick.MustDecimal("1.5")
	s := newSender(t, 1, x.Symbol)
	buf := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() {
		x.Seq++
		x.TS += 1000
		x.Bid = tick.NewDecimal(x.Seq, 2)
		if buf, _ = s.append(buf[:0], &x); buf == nil {
			t.Fatal("nothing")
		}
		if _, _, err := s.d.Next(buf); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestDigitsCover(t *testing.T) {
	x := btc() // 64123.51 and 64123.50, microseconds
	g := Digits(0).Cover(&x)
	if g.at(0) != 2 || g.at(1) != 1 || g.at(2) != 0 || g.at(digitsTime) != 6 || g.Cover(&x) != g {
		t.Errorf("%x", g)
	}
	x.Price = tick.MustDecimal("64123.500000")
	x.TS = math.MinInt64
	if g.Cover(&x) != g {
		t.Errorf("zeros count: %x", g.Cover(&x))
	}
	x.Bid = tick.MustDecimal("0.000000000001")
	g = g.Cover(&x)
	x.Bid = tick.NewDecimal(1e18-1, 0) // a million million millions of which do not fit
	if g.at(1) != 12 || g.Cover(&x).at(1) != 0 {
		t.Errorf("%x, then %x", g, g.Cover(&x))
	}
}

func BenchmarkCompact(b *testing.B) {
	x := btc()
	x.Ask, x.BidSize, x.AskSize = tick.MustDecimal("64123.52"), tick.MustDecimal("3.78826000"), tick.MustDecimal("1.54698000")
	y := x
	y.Seq++
	y.TS += 7123
	y.BidSize = tick.MustDecimal("3.70026000")
	g := Digits(0).Cover(&x).Cover(&y)
	var buf []byte
	b.Run("do=cover", func(b *testing.B) {
		for b.Loop() {
			if g.Cover(&y) != g {
				b.Fatal("not covered")
			}
		}
	})
	b.Run("do=full", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			buf = AppendFull(buf[:0], 5, &x, g)
		}
	})
	b.Run("do=changed", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			buf = AppendChanged(buf[:0], 5, &x, &y, g)
		}
	})
	d := newSender(b, 5, "BTC-USD").d
	whole := AppendFull(nil, 5, &x, g)
	b.Run("do=decode/form=full", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := d.Next(whole); err != nil {
				b.Fatal(err)
			}
		}
	})
	there, back := AppendChanged(nil, 5, &x, &y, g), x
	back.Seq = y.Seq + 1
	again := AppendChanged(nil, 5, &y, &back, g)
	b.Run("do=decode/form=changed", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := d.Next(there); err != nil {
				b.Fatal(err)
			}
			there, again = again, there
		}
	})
}
