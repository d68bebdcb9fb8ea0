package session

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
	"github.com/vmihailenco/msgpack/v5"
)

func id(n int64) *int64 { return &n }

func requests() []Request {
	return []Request{
		{Op: OpPing},
		{Op: OpPing, ID: id(0)},
		{Op: OpPing, ID: id(math.MinInt64)},
		{Op: OpSubscribe, ID: id(1), Symbols: []subject.Symbol{"BTC-USD", "ETH-USD"}},
		{Op: OpSubscribe, Symbols: []subject.Symbol{"BTC-USD"}, MaxRate: 100},
		{Op: OpSubscribe, ID: id(math.MaxInt64), Symbols: []subject.Symbol{"B", "A"}, Mode: Every,
			After: map[subject.Symbol]tick.Position{"A": {Epoch: 1763769600, Seq: 1039}, "B": {Epoch: math.MaxUint64}}},
		{Op: OpUnsubscribe, ID: id(-3), Symbols: []subject.Symbol{"BTC-USD"}},
	}
}

func TestRequestRoundTrip(t *testing.T) {
	for f := range Format(Formats) {
		for _, in := range requests() {
			p := AppendRequest(f, []byte("head"), &in)
			out, err := DecodeRequest(f, p[4:])
			if err != nil || !reflect.DeepEqual(out, in) || string(p[:4]) != "head" {
				t.Errorf("%s %q: %+v, %v\nwant %+v", f, p, out, err, in)
			}
		}
	}
}

func TestRequestTakes(t *testing.T) {
	sub := Request{Op: OpSubscribe, Symbols: []subject.Symbol{"BTC-USD"}}
	for in, want := range map[string]Request{
		` {"op" : "subscribe", "symbols" : ["BTC-USD"] } `:                                            sub,
		`{"op":"subscribe","symbols":["BTC-USD","BTC-USD"]}`:                                          sub,
		`{"op":"subscribe","symbols":["BTC-USD"],"mode":"latest"}`:                                    sub,
		`{"op":"subscribe","symbols":["BTC-USD"],"id":null,"mode":null,"max_rate":null,"after":null}`: sub,
		`{"op":"subscribe","symbols":["BTC-USD"],"after":{}}`:                                         sub,
		`{"op":"subscribe","symbols":["BTC-USD"],"channel":"x","Mode":"every","SYMBOLS":1}`:           sub,
		`{"op":"ping","symbols":["what of it"]}`:                                                      {Op: OpPing},
		`{"op":"unsubscribe","symbols":["BTC-USD"],"mode":"no matter","max_rate":0}`:                  {Op: OpUnsubscribe, Symbols: []subject.Symbol{"BTC-USD"}},
		`{"\u006fp":"p\u0069ng"}`:                                                                     {Op: OpPing},
	} {
		if out, err := DecodeRequest(JSON, []byte(in)); err != nil || !reflect.DeepEqual(out, want) {
			t.Errorf("%s: %+v, %v", in, out, err)
		}
	}
}

func pack(t testing.TB, v any) string {
	t.Helper()
	p, err := msgpack.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(p)
}

func names(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"S%d"`, i)
	}
	return "[" + b.String()[1:] + "]"
}

func TestRequestRefuses(t *testing.T) {
	type m = map[string]any
	btc := []string{"BTC-USD"}
	for name, c := range map[string]struct {
		f    Format
		p    string
		want code.Code
		says string
		id   *int64
	}{
		"empty":              {JSON, ``, code.BadMessage, "not JSON", nil},
		"junk":               {JSON, `hello`, code.BadMessage, "not JSON", nil},
		"cut":                {JSON, `{"op":"ping"`, code.BadMessage, "not JSON", nil},
		"two in one":         {JSON, `{"op":"ping"}{"op":"ping"}`, code.BadMessage, "not JSON", nil},
		"array":              {JSON, ` [1]`, code.BadMessage, "message is an array: must be a JSON object", nil},
		"null":               {JSON, `null`, code.BadMessage, "message is null", nil},
		"text":               {JSON, `"ping"`, code.BadMessage, "message is a string", nil},
		"deep":               {JSON, `{"id":7,"x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`, code.BadMessage, "exceeded max depth", nil},
		"no op":              {JSON, `{"id":7}`, code.BadOp, "op is missing: subscribe, unsubscribe or ping", id(7)},
		"another letter":     {JSON, `{"OP":"ping","id":7}`, code.BadOp, "op is missing", id(7)},
		"unknown op":         {JSON, `{"op":"sub\n","id":7}`, code.BadOp, `op "sub\n": subscribe, unsubscribe or ping`, id(7)},
		"op is number":       {JSON, `{"op":5,"id":7}`, code.BadMessage, `op is the number "5": must be a string`, id(7)},
		"id is text":         {JSON, `{"op":"ping","id":"7"}`, code.BadMessage, "id is a string: must be a signed 64-bit integer", nil},
		"id is a fraction":   {JSON, `{"op":"ping","id":1.5}`, code.BadMessage, `id is the number "1.5"`, nil},
		"id too large":       {JSON, `{"op":"ping","id":9223372036854775808}`, code.BadMessage, `id is the number`, nil},
		"id twice":           {JSON, `{"op":"ping","id":1,"id":2}`, code.BadMessage, "id is given twice", id(1)},
		"op twice":           {JSON, `{"op":"ping","op":"ping","id":7}`, code.BadMessage, "op is given twice", id(7)},
		"no symbols":         {JSON, `{"op":"subscribe","id":7}`, code.BadMessage, "symbols is missing or empty", id(7)},
		"symbols empty":      {JSON, `{"op":"unsubscribe","symbols":[],"id":7}`, code.BadMessage, "symbols is missing or empty", id(7)},
		"symbols is text":    {JSON, `{"op":"subscribe","symbols":"BTC-USD","id":7}`, code.BadMessage, "symbols is a string: must be an array of strings", id(7)},
		"symbols of numbers": {JSON, `{"op":"subscribe","symbols":["A",1],"id":7}`, code.BadMessage, "must be an array of strings", id(7)},
		"symbols of null":    {JSON, `{"op":"subscribe","symbols":[null],"id":7}`, code.BadMessage, "must be an array of strings", id(7)},
		"symbols twice":      {JSON, `{"op":"subscribe","symbols":["A"],"symbols":["B"],"id":7}`, code.BadMessage, "symbols is given twice", id(7)},
		"lower case":         {JSON, `{"op":"subscribe","symbols":["A","btc usd"],"id":7}`, code.BadSymbol, `symbol "btc usd": 1 to 32 of A-Z 0-9 - _`, id(7)},
		"long symbol":        {JSON, `{"op":"subscribe","symbols":["` + strings.Repeat("A", 33) + `"]}`, code.BadSymbol, "1 to 32", nil},
		"1001 symbols":       {JSON, `{"op":"subscribe","symbols":` + names(1001) + `,"id":7}`, code.TooManySymbols, "1001 symbols: at most 1000", id(7)},
		"2000 symbols":       {JSON, `{"op":"unsubscribe","symbols":` + names(2000) + `}`, code.TooManySymbols, "2000 symbols", nil},
		"mode":               {JSON, `{"op":"subscribe","symbols":["A"],"mode":"EVERY","id":7}`, code.BadMode, `mode "EVERY": latest or every`, id(7)},
		"mode empty":         {JSON, `{"op":"subscribe","symbols":["A"],"mode":""}`, code.BadMode, `mode ""`, nil},
		"mode is boolean":    {JSON, `{"op":"subscribe","symbols":["A"],"mode":true}`, code.BadMessage, "mode is a boolean: must be a string", nil},
		"rate with every":    {JSON, `{"op":"subscribe","symbols":["A"],"mode":"every","max_rate":1}`, code.BadMode, "max_rate goes with mode latest", nil},
		"rate 0":             {JSON, `{"op":"subscribe","symbols":["A"],"max_rate":0}`, code.BadRate, "max_rate 0: 1 to 100", nil},
		"rate 101":           {JSON, `{"op":"subscribe","symbols":["A"],"max_rate":101}`, code.BadRate, "max_rate 101: 1 to 100", nil},
		"rate is a fraction": {JSON, `{"op":"subscribe","symbols":["A"],"max_rate":0.5}`, code.BadMessage, `max_rate is the number "0.5"`, nil},
		"after with latest":  {JSON, `{"op":"subscribe","symbols":["A"],"after":{"A":[1,1]}}`, code.BadAfter, "after goes with mode every", nil},
		"after of another":   {JSON, `{"op":"subscribe","symbols":["A"],"mode":"every","after":{"B":[1,1]}}`, code.BadAfter, `"B" is not among symbols`, nil},
		"after short":        {JSON, `{"op":"subscribe","symbols":["A"],"mode":"every","after":{"A":[1]}}`, code.BadAfter, "[epoch, seq]", nil},
		"after long":         {JSON, `{"op":"subscribe","symbols":["A"],"mode":"every","after":{"A":[1,2,3]}}`, code.BadAfter, "[epoch, seq]", nil},
		"after null":         {JSON, `{"op":"subscribe","symbols":["A"],"mode":"every","after":{"A":null}}`, code.BadAfter, "[epoch, seq]", nil},
		"after epoch 0":      {JSON, `{"op":"subscribe","symbols":["A"],"mode":"every","after":{"A":[0,2]}}`, code.BadAfter, "[epoch, seq]", nil},
		"after twice":        {JSON, `{"op":"subscribe","symbols":["A"],"mode":"every","after":{"A":[1,2],"A":[1,3]}}`, code.BadAfter, "A is given twice", nil},
		"after negative":     {JSON, `{"op":"subscribe","symbols":["A"],"mode":"every","after":{"A":[1,-1]}}`, code.BadMessage, "after is an object", nil},
		"after null seq":     {JSON, `{"op":"subscribe","symbols":["A"],"mode":"every","after":{"A":[1,null]}}`, code.BadMessage, "after is an object", nil},
		"after is an array":  {JSON, `{"op":"subscribe","symbols":["A"],"mode":"every","after":[1,2]}`, code.BadMessage, "after is an array: must be an object of symbol: [epoch, seq]", nil},

		"m empty":              {MessagePack, "", code.BadMessage, "not a MessagePack map", nil},
		"m JSON":               {MessagePack, `{"op":"ping"}`, code.BadMessage, "message is an integer: must be a MessagePack map", nil},
		"m array":              {MessagePack, pack(t, []int{1}), code.BadMessage, "message is an array", nil},
		"m two in one":         {MessagePack, pack(t, m{"op": "ping"}) + pack(t, m{"op": "ping"}), code.BadMessage, "9 bytes after", nil},
		"m integer key":        {MessagePack, pack(t, map[int]string{1: "ping"}), code.BadMessage, "string keys", nil},
		"m cut":                {MessagePack, pack(t, m{"op": "ping"})[:5], code.BadMessage, "ends early", nil},
		"m deep":               {MessagePack, "\x82\xa2id\x07\xa1x" + strings.Repeat("\x91", 1000) + "\x01", code.BadMessage, "nested too deep", id(7)},
		"m huge map":           {MessagePack, "\xdf\xff\xff\xff\xff\xa2op", code.BadMessage, "ends early", nil},
		"m unknown op":         {MessagePack, pack(t, m{"op": "x", "id": 7}), code.BadOp, `op "x"`, id(7)},
		"m op is integer":      {MessagePack, pack(t, m{"op": 5, "id": 7}), code.BadMessage, "op is an integer: must be a string", id(7)},
		"m id is float":        {MessagePack, pack(t, m{"op": "ping", "id": 7.0}), code.BadMessage, "id is a float: must be a signed 64-bit integer", nil},
		"m id above 63 bits":   {MessagePack, pack(t, m{"op": "ping", "id": uint64(1 << 63)}), code.BadMessage, "id is an integer: must be a signed", nil},
		"m rate is float":      {MessagePack, pack(t, m{"op": "subscribe", "symbols": btc, "max_rate": float32(10), "id": 7}), code.BadMessage, "max_rate is a float", id(7)},
		"m rate is nil":        {MessagePack, pack(t, m{"op": "subscribe", "symbols": nil, "max_rate": nil}), code.BadMessage, "symbols is missing", nil},
		"m symbols of ints":    {MessagePack, pack(t, m{"op": "subscribe", "symbols": []int{1}, "id": 7}), code.BadMessage, "must be an array of strings", id(7)},
		"m symbols of nil":     {MessagePack, pack(t, m{"op": "subscribe", "symbols": []any{nil}, "id": 7}), code.BadMessage, "must be an array of strings", id(7)},
		"m symbols is ext":     {MessagePack, "\x82\xa2op\xa9subscribe\xa7symbols\xd4\x01\x01", code.BadMessage, "symbols is of a type that the protocol does not use", nil},
		"m mode is boolean":    {MessagePack, pack(t, m{"op": "subscribe", "symbols": btc, "mode": true}), code.BadMessage, "mode is a boolean", nil},
		"m after with floats":  {MessagePack, pack(t, m{"op": "subscribe", "symbols": btc, "mode": "every", "after": m{"BTC-USD": []float64{1, 1}}}), code.BadMessage, "after is a map", nil},
		"m after negative":     {MessagePack, pack(t, m{"op": "subscribe", "symbols": btc, "mode": "every", "after": m{"BTC-USD": []int{1, -1}}}), code.BadMessage, "after is a map", nil},
		"m after is an array":  {MessagePack, pack(t, m{"op": "subscribe", "symbols": btc, "mode": "every", "after": []int{1, 1}}), code.BadMessage, "after is an array: must be", nil},
		"m after nil position": {MessagePack, pack(t, m{"op": "subscribe", "symbols": btc, "mode": "every", "after": m{"BTC-USD": nil}}), code.BadAfter, "[epoch, seq]", nil},
		"m twice":              {MessagePack, "\x82\xa2op\xa4ping\xa2op\xa4ping", code.BadMessage, "op is given twice", nil},
	} {
		r, err := DecodeRequest(c.f, []byte(c.p))
		var e *code.Error
		if !errors.As(err, &e) || e.Code != c.want || !strings.Contains(e.Message, c.says) {
			t.Errorf("%s: %v, want %s with %q", name, err, c.want, c.says)
		} else if len(e.Message) > 300 {
			t.Errorf("%s: a message of %d bytes", name, len(e.Message))
		}
		if !reflect.DeepEqual(r.ID, c.id) {
			t.Errorf("%s: id %v, want %v", name, show(r.ID), show(c.id))
		}
	}
}

func show(id *int64) any {
	if id == nil {
		return "none"
	}
	return *id
}

func TestRequestOfMostSymbols(t *testing.T) {
	p := `{"op":"subscribe","symbols":` + strings.Replace(names(MaxSymbols), "]", `,"S0"]`, 1) + `}`
	r, err := DecodeRequest(JSON, []byte(p))
	if err != nil || len(r.Symbols) != MaxSymbols {
		t.Errorf("%d symbols, %v", len(r.Symbols), err)
	}
}

func FuzzDecodeRequest(f *testing.F) {
	for format := range Formats {
		for _, r := range requests() {
			f.Add(uint8(format), AppendRequest(Format(format), nil, &r))
		}
	}
	f.Add(uint8(JSON), []byte(`{"op":"subscribe","symbols":["A"],"mode":"every","after":{"A":[1,2],"A":[1,3]}}`))
	f.Add(uint8(JSON), []byte(`{"op":5,"id":1.5,"symbols":{},"x":[[]]}`))
	f.Add(uint8(MessagePack), []byte("\x82\xa2op\xa4ping\xa2id\xcb\x40\x1c\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, format uint8, p []byte) {
		in := Format(format % Formats)
		r, err := DecodeRequest(in, p)
		if err != nil {
			var e *code.Error
			if !errors.As(err, &e) || e.Code == code.Internal || e.Message == "" || len(e.Message) > 400 {
				t.Fatalf("%q: %v", p, err)
			}
			return
		}
		for f := range Format(Formats) { // what one format says, the other can say
			q := AppendRequest(f, nil, &r)
			again, err := DecodeRequest(f, q)
			if r.Op == OpPing {
				r.Symbols = nil
			}
			if err != nil || !reflect.DeepEqual(again, r) {
				t.Fatalf("%q: %+v comes back from %q as %+v, %v", p, r, q, again, err)
			}
		}
	})
}
