package vectors_test

import (
	"encoding/hex"
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
	"github.com/tickfan/tickfan/proto/wire"
)

type namedTick struct {
	name string
	t    tick.Tick
}

func ticks() []namedTick {
	btc := tick.Tick{Symbol: "BTC-USD", Position: tick.Position{Epoch: 1763769600, Seq: 1042}, At: 1763769600123999, Quote: tick.Quote{
		Price: tick.MustDecimal("64123.51"), Bid: tick.MustDecimal("64123.50"), Ask: tick.MustDecimal("64123.52"), TS: 1763769600123456}}
	first := btc
	first.Seq, first.Prev = 1, tick.Position{Epoch: 1763700000, Seq: 88123}
	again := btc
	again.Again = true
	all := btc
	for i, text := range []string{"64123.51", "64123.50", "64123.52", "0.00000001", "0", "12.5", "63000", "65000.00", "62000.1", "123456.789012345678"} {
		*all.Fields()[i] = tick.MustDecimal(text)
	}
	sparse := tick.Tick{Symbol: "A", Position: tick.Position{Epoch: math.MaxUint64, Seq: math.MaxUint64}, At: 1, Quote: tick.Quote{
		Price: tick.MustDecimal("999999999999999999"), Volume: tick.MustDecimal("0.000000000001"), TS: 1}}
	return []namedTick{{"tick", btc}, {"tick, first of an epoch", first}, {"tick, again", again}, {"tick, all fields", all}, {"tick, extremes", sparse}}
}

// payload is one payload on NATS. Value is what it says, in JSON; Kind and Value are for people.
type payload struct {
	Name    string         `json:"name"`
	Subject string         `json:"subject"`
	Kind    wire.Kind      `json:"kind"`
	Value   map[string]any `json:"value"`
	Hex     string         `json:"hex"`
}

func tickValue(t *tick.Tick) map[string]any {
	v := map[string]any{"symbol": t.Symbol, "epoch": t.Epoch, "seq": t.Seq, "at": t.At, "ts": t.TS}
	if t.Prev != (tick.Position{}) {
		v["prev"] = [2]uint64{t.Prev.Epoch, t.Prev.Seq}
	}
	if t.Again {
		v["again"] = true
	}
	for i, d := range t.Fields() {
		if d.Given() {
			v[tick.Names[i]] = d.String()
		}
	}
	return v
}

func TestVectorsBus(t *testing.T) {
	var made []payload
	var want []any
	add := func(name, subj string, kind wire.Kind, p []byte, value map[string]any, decoded any) {
		made = append(made, payload{name, subj, kind, value, hex.EncodeToString(p)})
		want = append(want, decoded)
	}
	var items [][]byte
	var itemValues []any
	for _, c := range ticks() {
		p := c.t.Append(nil)
		add(c.name, subject.Ticks(c.t.Symbol), wire.KindTick, p, tickValue(&c.t), c.t)
		if len(items) < 2 {
			items, itemValues = append(items, p), append(itemValues, tickValue(&c.t))
		}
	}

	beat := tick.BeatMsg{Epoch: 1763769600, Count: 70123, Time: 1763769600500000}
	add("beat", subject.Beat, wire.KindBeat, beat.Append(nil), map[string]any{"epoch": beat.Epoch, "count": beat.Count, "time": beat.Time}, beat)

	const bucket subject.Bucket = "edge-ab12cd-0"
	batch := tick.Batch{Router: "router-x7k2p9.3", Number: 300, BeatAge: 120, Items: items}
	for i := range batch.Interest {
		batch.Interest[i] = uint64(i * 20)
	}
	add("batch", subject.Fanout("local", bucket), wire.KindBatch, batch.Append(nil), map[string]any{"router": batch.Router, "number": batch.Number,
		"beat_age_ms": batch.BeatAge, "interest": batch.Interest, "items": itemValues}, batch)
	idle := tick.Batch{Router: "router-x7k2p9.3", Number: 301, BeatAge: tick.NoBeat}
	add("batch, empty, no beat heard", subject.Fanout("local", bucket), wire.KindBatch, idle.Append(nil), map[string]any{"router": idle.Router,
		"number": idle.Number, "beat_age_ms": idle.BeatAge, "interest": idle.Interest, "items": []any{}}, idle)

	part := subject.Part("BTC-USD")
	ann := control.Announcement{Bucket: bucket, Part: part, PartValue: control.PartValue{Number: 12, Symbols: control.Set{"BTC-USD": control.Every}}}
	add("interest", subject.Interest("local"), wire.KindInterest, ann.Append(nil), map[string]any{"bucket": bucket, "part": part, "number": 12,
		"symbols": ann.Symbols}, ann)
	none := control.Announcement{Bucket: bucket, Part: part, PartValue: control.PartValue{Number: 13, Symbols: control.Set{}}}
	add("interest, none left", subject.Interest("local"), wire.KindInterest, none.Append(nil), map[string]any{"bucket": bucket, "part": part, "number": 13,
		"symbols": none.Symbols}, none)

	rb := control.RouterBeat{Instance: "router-x7k2p9", Ready: true}
	add("router beat", subject.RouterBeat("local"), wire.KindRouterBeat, rb.Append(nil), map[string]any{"instance": rb.Instance, "ready": true, "leaving": false}, rb)

	all := tick.NewestRequest{}
	add("newest request, all", subject.RouterNewest("local"), wire.KindNewestRequest, all.Append(nil), map[string]any{"symbols": nil}, all)
	two := tick.NewestRequest{Symbols: []subject.Symbol{"BTC-USD", "NEW-USD"}}
	add("newest request, two", subject.RouterNewest("local"), wire.KindNewestRequest, two.Append(nil), map[string]any{"symbols": two.Symbols}, two)
	g := tick.Range{Symbol: "BTC-USD", Epoch: 1763769600, From: 1040, To: 1042}
	ranged := tick.NewestRequest{Range: g}
	add("newest request, range", subject.RouterNewest("local"), wire.KindNewestRequest, ranged.Append(nil), map[string]any{"symbols": []any{},
		"symbol": g.Symbol, "epoch": g.Epoch, "from": g.From, "to": g.To}, ranged)
	answer := tick.NewestAnswer{Last: true, Ticks: items[:1], Missing: []subject.Symbol{"NEW-USD"}}
	add("newest answer", "_INBOX.…", wire.KindNewestAnswer, answer.Append(nil), map[string]any{"last": true, "ticks": itemValues[:1], "missing": answer.Missing}, answer)
	for _, c := range []struct {
		name string
		lack tick.Lack
		n    int
	}{{"whole", tick.Nothing, 1}, {"its beginning gone", tick.Gone, 1}, {"ahead", tick.Ahead, 0}, {"refused", tick.Refused, 0}} {
		a := tick.NewestAnswer{Last: true, Ticks: items[:c.n], Missing: []subject.Symbol{}, Lack: c.lack}
		if c.n == 0 {
			a.Ticks = nil
		}
		add("newest answer to a range, "+c.name, "_INBOX.…", wire.KindNewestAnswer, a.Append(nil), map[string]any{"last": true, "ticks": itemValues[:c.n],
			"missing": a.Missing, "lack": c.lack}, a)
	}

	for i, p := range golden(t, "bus.json", made) {
		b, err := hex.DecodeString(p.Hex)
		if err != nil {
			t.Fatal(err)
		}
		if k, err := wire.KindOf(b); err != nil || k != p.Kind {
			t.Errorf("%s: kind %d, %v", p.Name, k, err)
		}
		got, err := decode(b)
		if err != nil || !reflect.DeepEqual(got, want[i]) {
			t.Errorf("%s: %+v, %v\nwant %+v", p.Name, got, err, want[i])
		}
	}
	for k := wire.KindTick; k <= wire.KindNewestAnswer; k++ {
		if !slices.ContainsFunc(made, func(p payload) bool { return p.Kind == k }) {
			t.Errorf("kind %d has no vector", k)
		}
	}
}

func decode(p []byte) (any, error) {
	kind, err := wire.KindOf(p)
	if err != nil {
		return nil, err
	}
	switch kind {
	case wire.KindTick:
		return tick.Decode(p)
	case wire.KindBeat:
		return tick.DecodeBeat(p)
	case wire.KindBatch:
		var b tick.Batch
		err := b.Decode(p)
		return b, err
	case wire.KindInterest:
		return control.DecodeAnnouncement(p)
	case wire.KindRouterBeat:
		return control.DecodeRouterBeat(p)
	case wire.KindNewestRequest:
		return tick.DecodeNewestRequest(p)
	default:
		return tick.DecodeNewestAnswer(p)
	}
}

// list is what must be taken and what refused.
type list struct {
	Valid   []string `json:"valid"`
	Invalid []string `json:"invalid"`
}

func TestVectorsDecimals(t *testing.T) {
	l := golden(t, "decimals.json", list{
		Valid: []string{"0", "1", "0.0", "0.50", "62975.90", "64123.51", "0.000000000001", "999999999999999999", "123456.789012345678", "100000000000000000"},
		Invalid: []string{"", "abc", "-1", "+1", "1e400", "1E2", ".5", "5.", ".", "1.2.3", "00", "01", "00.5", " 1", "1 ", "1,5", "0x10", "NaN", "Infinity",
			"1000000000000000000", "0.0000000000001", "1.333333333333333333333333333333"},
	})
	for _, s := range l.Valid {
		if d, err := tick.ParseDecimal(s); err != nil || d.String() != s {
			t.Errorf("%q: %q, %v", s, d, err)
		}
	}
	for _, s := range l.Invalid {
		if d, err := tick.ParseDecimal(s); err == nil {
			t.Errorf("%q is taken as %q", s, d)
		}
	}
}

func TestVectorsSymbols(t *testing.T) {
	l := golden(t, "symbols.json", list{
		Valid:   []string{"A", "0", "-", "_", "BTC-USD", "1000SHIB_USDT-PERP", "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"},
		Invalid: []string{"", "btc-usd", "BTC.USD", "BTC USD", "BTC/USD", "BTC-USD\n", "*", ">", "ÄTH", "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456"},
	})
	for _, s := range l.Valid {
		if _, err := subject.ParseSymbol(s); err != nil {
			t.Error(err)
		}
	}
	for _, s := range l.Invalid {
		if subject.ValidSymbol(s) {
			t.Errorf("%q is taken", s)
		}
	}
}

func TestVectorsParts(t *testing.T) {
	parts := map[subject.Symbol]int{}
	for _, s := range []subject.Symbol{"A", "BTC-USD", "ETH-USD", "SOL-USD", "1000SHIB_USDT-PERP", "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"} {
		parts[s] = subject.Part(s)
	}
	for s, part := range golden(t, "parts.json", parts) {
		if subject.Part(s) != part {
			t.Errorf("%s is in part %d, want %d", s, subject.Part(s), part)
		}
	}
}
