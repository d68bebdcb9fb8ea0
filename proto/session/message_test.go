package session

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
	"github.com/vmihailenco/msgpack/v5"
)

func btc() tick.Tick {
	return tick.Tick{Symbol: "BTC-USD", Position: tick.Position{Epoch: 1763769600, Seq: 1042}, At: 5, Quote: tick.Quote{
		Price: tick.MustDecimal("64123.51"), Bid: tick.MustDecimal("64123.50"), TS: 1763769600123456}}
}

func full() tick.Tick {
	t := btc()
	for i, d := range t.Fields() {
		*d = tick.NewDecimal(uint64(i)*1000, i)
	}
	return t
}

func messages() []Message {
	return []Message{
		{Op: OpSubscribed, ID: id(1), Symbols: []subject.Symbol{"BTC-USD", "NEW-USD"}, NoPrice: []subject.Symbol{"NEW-USD"}},
		{Op: OpSubscribed, ID: id(2), Symbols: []subject.Symbol{"BTC-USD", "NEW-USD"}, Numbers: []uint32{1, 70000}},
		{Op: OpUnsubscribed, ID: id(0), Symbols: []subject.Symbol{"NEW-USD"}},
		{Op: OpGap, Symbol: "BTC-USD", Epoch: 1763769600, From: 1040, To: 1041},
		{Op: OpGap, Symbol: "BTC-USD", Epoch: 1763769600, From: 1040, To: 1041,
			URL: RangeURL(tick.Range{Symbol: "BTC-USD", Epoch: 1763769600, From: 1040, To: 1041})},
		{Op: OpGap, Symbol: "BTC-USD", Epoch: math.MaxUint64, From: 1},
		{Op: OpPong, ID: id(math.MinInt64), TS: 1763769600300000},
		{Op: OpError, ID: id(5), Code: code.BadSymbol, Message: `symbol "<btc & usd>": 1 to 32 of A-Z 0-9 - _`},
		{Op: OpStale, AgeMS: 3200},
		{Op: OpStale},
		{Op: OpFresh},
		{Op: OpReconnect, AfterMS: 1830, Reason: "drain"},
	}
}

func TestMessageRoundTrip(t *testing.T) {
	for f := range Format(Formats) {
		for _, in := range messages() {
			p := in.Append(f, []byte("head"))
			out, err := DecodeMessage(f, p[4:])
			if err != nil || !reflect.DeepEqual(out, in) || string(p[:4]) != "head" {
				t.Errorf("%s %q: %+v, %v\nwant %+v", f, p, out, err, in)
			}
		}
	}
}

// TestFormatsSayTheSame decodes both encodings with other decoders into maps.
func TestFormatsSayTheSame(t *testing.T) {
	for _, m := range messages() {
		var fromJSON map[string]any
		d := json.NewDecoder(strings.NewReader(string(m.Append(JSON, nil))))
		d.UseNumber()
		if err := d.Decode(&fromJSON); err != nil {
			t.Fatal(err)
		}
		var fromMsgpack map[string]any
		if err := msgpack.Unmarshal(m.Append(MessagePack, nil), &fromMsgpack); err != nil {
			t.Fatal(err)
		}
		again, err := json.Marshal(fromMsgpack)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(fromJSON)
		if err != nil || string(text) != string(again) {
			t.Errorf("JSON %s, MessagePack %s, %v", text, again, err)
		}
	}
}

// TestFieldsAreTheStruct holds the list of fields against the JSON tags of Message.
func TestFieldsAreTheStruct(t *testing.T) {
	var m Message
	v := reflect.ValueOf(&m).Elem()
	fields := m.fields()
	if v.NumField() != len(fields) {
		t.Fatalf("%d fields, the struct has %d", len(fields), v.NumField())
	}
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if messageFields[i] != name || fields[i] != v.Field(i).Addr().Interface() {
			t.Errorf("field %d is %s, the struct has %s", i, messageFields[i], name)
		}
	}
}

func TestRangeURL(t *testing.T) {
	got := RangeURL(tick.Range{Symbol: "BTC-USD", Epoch: 1763769600, From: 1040, To: 1041})
	if want := "/v1/ticks/BTC-USD?epoch=1763769600&from=1040&to=1041"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestEveryFieldTravels(t *testing.T) {
	symbols := []subject.Symbol{"A"}
	d := tick.MustDecimal("1.50")
	in := Message{Op: "x", ID: id(1), Symbols: symbols, NoPrice: symbols, Numbers: []uint32{1, MaxNumber}, Symbol: "A", Epoch: 1, Seq: 2, From: 3, To: 4, URL: "u",
		Price: d, Bid: d, Ask: d, Size: d, BidSize: d, AskSize: d, Open: d, High: d, Low: d, Volume: d,
		TS: -5, Code: "c", Message: "m", AgeMS: 6, AfterMS: 7, Reason: "r"}
	for i := range reflect.TypeOf(in).NumField() {
		if reflect.ValueOf(in).Field(i).IsZero() {
			t.Fatalf("the test leaves out %s", reflect.TypeOf(in).Field(i).Name)
		}
	}
	for f := range Format(Formats) {
		if out, err := DecodeMessage(f, in.Append(f, nil)); err != nil || !reflect.DeepEqual(out, in) {
			t.Errorf("%s: %+v, %v", f, out, err)
		}
	}
}

func TestDecodeMessageIgnoresUnknownFields(t *testing.T) {
	p, err := msgpack.Marshal(map[string]any{"op": "fresh", "later": map[string]any{"x": []float64{1}}, "reason": nil})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := DecodeMessage(MessagePack, p); err != nil || m.Op != OpFresh {
		t.Errorf("%+v, %v", m, err)
	}
	if m, err := DecodeMessage(JSON, []byte(`{"op":"fresh","later":{"x":[1.5]},"reason":null}`)); err != nil || m.Op != OpFresh {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestDecodeMessageRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		f Format
		p string
	}{
		"empty":         {JSON, ""},
		"no op":         {JSON, `{"ts":1}`},
		"float":         {JSON, `{"op":"pong","ts":1.5}`},
		"more":          {JSON, `{"op":"fresh"} x`},
		"price":         {JSON, `{"op":"tick","price":"x"}`},
		"m empty":       {MessagePack, ""},
		"m array":       {MessagePack, pack(t, []string{"op"})},
		"m no op":       {MessagePack, pack(t, map[string]any{"ts": 1})},
		"m float":       {MessagePack, pack(t, map[string]any{"op": "pong", "ts": 1.0})},
		"m price":       {MessagePack, pack(t, map[string]any{"op": "tick", "price": "1e5"})},
		"m price float": {MessagePack, pack(t, map[string]any{"op": "tick", "price": 1.5})},
		"c ticks":       {Compact, "\xc1\x05"},
		"c number":      {Compact, pack(t, map[string]any{"op": "subscribed", "numbers": []uint64{1 << 32}})},
		"m more":        {MessagePack, pack(t, map[string]any{"op": "fresh"}) + "\xc0"},
	} {
		if m, err := DecodeMessage(c.f, []byte(c.p)); err == nil || !reflect.DeepEqual(m, Message{}) {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
}

func TestAppendTick(t *testing.T) {
	in := btc()
	if got, want := string(AppendTick(JSON, nil, &in)),
		`{"op":"tick","symbol":"BTC-USD","epoch":1763769600,"seq":1042,"price":"64123.51","bid":"64123.50","ts":1763769600123456}`; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if got, want := string(AppendTickJSON(nil, &in)),
		`{"symbol":"BTC-USD","epoch":1763769600,"seq":1042,"price":"64123.51","bid":"64123.50","ts":1763769600123456}`; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	for f := range Compact {
		for _, in := range []tick.Tick{btc(), full()} {
			p := AppendTick(f, nil, &in)
			m, err := DecodeMessage(f, p)
			if err != nil || m.Op != OpTick || m.Symbol != in.Symbol || m.Epoch != in.Epoch || m.Seq != in.Seq || m.Quote() != in.Quote {
				t.Errorf("%s %q: %+v, %v", f, p, m, err)
			}
			if again := m.Append(f, nil); string(again) != string(p) {
				t.Errorf("%s: a tick as a message is %q, want %q", f, again, p)
			}
		}
	}
}

func TestNoAllocations(t *testing.T) {
	in := full()
	buf := make([]byte, 0, 4096)
	for f := range Compact {
		if n := testing.AllocsPerRun(100, func() { buf = AppendTick(f, buf[:0], &in) }); n != 0 {
			t.Errorf("AppendTick %s: %v allocations", f, n)
		}
	}
	if n := testing.AllocsPerRun(100, func() { buf = AppendTickJSON(buf[:0], &in) }); n != 0 {
		t.Errorf("AppendTickJSON: %v allocations", n)
	}
}

func FuzzDecodeMessage(f *testing.F) {
	for format := range Formats {
		for _, m := range messages() {
			f.Add(uint8(format), m.Append(Format(format), nil))
		}
		in := full()
		f.Add(uint8(format), AppendTick(Format(format), nil, &in))
	}
	f.Fuzz(func(t *testing.T, format uint8, p []byte) {
		in := Format(format % Formats)
		m, err := DecodeMessage(in, p)
		if err != nil {
			return
		}
		again, err := DecodeMessage(in, m.Append(in, nil))
		if err != nil {
			t.Fatalf("%q: %+v does not come back: %v", p, m, err)
		}
		for _, list := range []*[]subject.Symbol{&m.Symbols, &m.NoPrice} { // empty is absent
			if len(*list) == 0 {
				*list = nil
			}
		}
		if len(m.Numbers) == 0 {
			m.Numbers = nil
		}
		if !reflect.DeepEqual(again, m) {
			t.Fatalf("%q: %+v comes back as %+v", p, m, again)
		}
	})
}

func BenchmarkAppendTick(b *testing.B) {
	in := btc()
	for f := range Compact {
		b.Run("format="+f.String(), func(b *testing.B) {
			b.ReportAllocs()
			var buf []byte
			for b.Loop() {
				buf = AppendTick(f, buf[:0], &in)
			}
		})
	}
}

func BenchmarkDecodeMessage(b *testing.B) {
	in := btc()
	for f := range Compact {
		p := AppendTick(f, nil, &in)
		b.Run("format="+f.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := DecodeMessage(f, p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
