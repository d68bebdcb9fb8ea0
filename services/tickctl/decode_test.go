package tickctl

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
	"github.com/tickfan/tickfan/proto/wire"
)

// payloads holds what travels on NATS, and what decode makes of it.
func payloads() map[string]struct {
	payload []byte
	want    string
} {
	first := tick.Tick{Symbol: "BTC-USD", Position: tick.Position{Epoch: 1763769600, Seq: 1}, Prev: tick.Position{Epoch: 1763760000, Seq: 77},
		At: 1763769600223002, Again: true, Quote: tick.Quote{Price: tick.MustDecimal("64123.50"), Ask: tick.MustDecimal("64123.52"), TS: 1763769600223001}}
	second := tick.Tick{Symbol: "ETH-USD", Position: tick.Position{Epoch: 2, Seq: 3}, Quote: tick.Quote{Price: tick.MustDecimal("0.000000000001"), TS: 4}}
	const firstJSON = `{"kind":"tick","symbol":"BTC-USD","epoch":1763769600,"seq":1,"price":"64123.50","ask":"64123.52","ts":1763769600223001,"at":1763769600223002,"prev":[1763760000,77],"again":true}`
	const secondJSON = `{"kind":"tick","symbol":"ETH-USD","epoch":2,"seq":3,"price":"0.000000000001","ts":4,"at":0}`
	unknown := wire.AppendUint(wire.AppendArray(nil, 1), 99)
	part := subject.Part("BTC-USD")
	quote := wire.AppendStr(wire.AppendStr(wire.AppendMap(nil, 2), "price"), "1.50")
	quote = wire.AppendUint(wire.AppendStr(quote, "ts"), 1763769600123456)

	return map[string]struct {
		payload []byte
		want    string
	}{
		"tick": {first.Append(nil), firstJSON},
		"beat": {(&tick.BeatMsg{Epoch: 5, Count: 6, Time: 7}).Append(nil), `{"kind":"beat","epoch":5,"count":6,"time":7}`},
		"batch": {
			(&tick.Batch{Router: "r1", Number: 8, BeatAge: tick.NoBeat, Interest: [16]uint64{3: 4}, Items: [][]byte{first.Append(nil), unknown, second.Append(nil)}}).Append(nil),
			`{"kind":"batch","router":"r1","number":8,"beat_age_ms":-1,"interest":[0,0,0,4,0,0,0,0,0,0,0,0,0,0,0,0],"items":[` +
				firstJSON + `,{"error":"item of kind 99, which this version does not know"},` + secondJSON + `]}`,
		},
		"interest": {
			(&control.Announcement{Bucket: "edge-abc123-0", Part: part, PartValue: control.PartValue{Number: 9, Symbols: control.Set{"BTC-USD": control.Every}}}).Append(nil),
			`{"kind":"interest","bucket":"edge-abc123-0","part":` + strconv.Itoa(part) + `,"number":9,"symbols":{"BTC-USD":"every"}}`,
		},
		"router beat":        {(&control.RouterBeat{Instance: "r1", Ready: true}).Append(nil), `{"kind":"router_beat","instance":"r1","ready":true,"leaving":false}`},
		"newest request":     {(&tick.NewestRequest{Symbols: []subject.Symbol{"A", "B"}}).Append(nil), `{"kind":"newest_request","symbols":["A","B"]}`},
		"newest request all": {(&tick.NewestRequest{}).Append(nil), `{"kind":"newest_request","symbols":null}`},
		"newest request, range": {
			(&tick.NewestRequest{Range: tick.Range{Symbol: "A", Epoch: 7, From: 1, To: 9}}).Append(nil),
			`{"kind":"newest_request","symbol":"A","epoch":7,"from":1,"to":9}`,
		},
		"newest answer to a range": {
			(&tick.NewestAnswer{Last: true, Lack: tick.Gone}).Append(nil), `{"kind":"newest_answer","last":true,"ticks":[],"lack":1}`,
		},
		"newest answer": {
			(&tick.NewestAnswer{Last: true, Ticks: [][]byte{second.Append(nil)}, Missing: []subject.Symbol{"C"}}).Append(nil),
			`{"kind":"newest_answer","last":true,"ticks":[` + secondJSON + `],"missing":["C"]}`,
		},
		"price":         {quote, `{"kind":"price","price":"1.50","ts":1763769600123456}`},
		"price, no ts":  {wire.AppendUint(wire.AppendStr(wire.AppendMap(nil, 1), "price"), 7), `{"kind":"price","price":"7"}`},
		"JSON":          {[]byte(`{"price":"64123.51", "x":1e400}`), `{"price":"64123.51", "x":1e400}`},
		"JSON in lines": {[]byte("\n{\n  \"a\": [1]\n}\n"), `{"a":[1]}`},
		"bare price":    {[]byte("64123.51\n"), `64123.51`},
	}
}

func TestDecode(t *testing.T) {
	for name, test := range payloads() {
		if code, out, err := run(t, string(test.payload), "decode"); code != exitDone || out != test.want+"\n" || err != "" {
			t.Errorf("%s: code %d, err %q\n got %s\nwant %s", name, code, err, out, test.want)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, test := range map[string]struct{ payload, says string }{
		"nothing":      {"", "nothing on stdin"},
		"text":         {"hello", "neither JSON nor"},
		"cut JSON":     {`{"price":`, "neither JSON nor"},
		"unknown kind": {"\x91\x63", "kind 99"},
		"no kind":      {"\x91\xa1x", "neither JSON nor"},
		"never used":   {"\xc1", "neither JSON nor"},
		"cut tick":     {"\x91\x01", "decode tick"},
		"cut batch":    {"\x96\x03\xa1r\x01\x01\x90\x01", "decode batch"},
		"other map":    {"\x81\xa1a\x01", "bad_price"},
	} {
		code, out, err := run(t, test.payload, "decode")
		if code != exitFault || out != "" || !strings.Contains(err, test.says) || strings.Count(err, "\n") != 1 {
			t.Errorf("%s: code %d, out %q, err %q", name, code, out, err)
		}
	}
}

// FuzzDecode: whatever comes, the answer is one line of JSON or an error.
func FuzzDecode(f *testing.F) {
	for _, test := range payloads() {
		f.Add(test.payload)
	}
	f.Add([]byte("\xc1"))
	f.Add(bytes.Repeat([]byte{0x91}, 100))
	f.Fuzz(func(t *testing.T, p []byte) {
		line, err := toJSON(p)
		if err == nil && (!json.Valid(line) || bytes.ContainsAny(line, "\r\n")) {
			t.Errorf("%q", line)
		}
	})
}
