package tick

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/vmihailenco/msgpack/v5"
)

var now = time.UnixMicro(1763769600123456)

func pack(t testing.TB, v any) string {
	t.Helper()
	p, err := msgpack.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(p)
}

func TestParseQuote(t *testing.T) {
	price := Quote{Price: MustDecimal("64123.51"), TS: now.UnixMicro()}
	all := Quote{Price: MustDecimal("10"), Bid: MustDecimal("9"), Ask: MustDecimal("11.0"), Size: MustDecimal("0"), BidSize: MustDecimal("1.5"),
		AskSize: MustDecimal("2"), Open: MustDecimal("8"), High: MustDecimal("12"), Low: MustDecimal("7"), Volume: MustDecimal("0.00"), TS: 1763769600000000}
	for name, c := range map[string]struct {
		payload string
		want    Quote
	}{
		"JSON string":       {`{"price":"64123.51"}`, price},
		"JSON number":       {`{"price":64123.51}`, price},
		"bare":              {`64123.51`, price},
		"bare with newline": {" 64123.51\n", price},
		"blanks":            {" {\n\t\"price\" : \"64123.51\"\r\n} \n", price},
		"null":              {`{"price":"64123.51","bid":null,"ts":null}`, price},
		"unknown fields":    {`{"price":"64123.51","exchange":"x","depth":[[1,2],{"a":null}],"Price":"no"}`, price},
		"escaped name":      {`{"\u0070rice":"64123.51"}`, price},
		"escaped text":      {`{"price":"\u00364123.51"}`, price},
		"all": {`{"price":"10","bid":9,"ask":"11.0","size":0,"bid_size":1.5,"ask_size":2,"open":8,"high":12,"low":7,"volume":"0.00","ts":1763769600000000}`,
			all},
		"trailing zeros": {`62975.90`, Quote{Price: MustDecimal("62975.90"), TS: now.UnixMicro()}},
		"past time":      {`{"price":1,"ts":1}`, Quote{Price: MustDecimal("1"), TS: 1}},
		"a minute ahead": {`{"price":1,"ts":1763769660123456}`, Quote{Price: MustDecimal("1"), TS: 1763769660123456}},
		"MessagePack":    {pack(t, map[string]any{"price": "64123.51"}), price},
		"MessagePack, integers": {pack(t, map[string]any{"price": 10, "bid": uint8(9), "ask": "11.0", "size": 0, "bid_size": "1.5", "ask_size": int64(2),
			"open": uint64(8), "high": int8(12), "low": 7, "volume": "0.00", "ts": uint64(1763769600000000)}), all},
		"MessagePack, unknown fields": {pack(t, map[string]any{"price": "64123.51", "x": map[string]any{"y": []float64{1.5}}, "bid": nil}), price},
		"MessagePack, binary":         {pack(t, map[string]any{"price": []byte("64123.51")}), price},
	} {
		got, err := ParseQuote([]byte(c.payload), now)
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v\nwant %+v", name, got, err, c.want)
		}
	}
}

func TestParseQuoteRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		payload string
		want    code.Code
		says    string // what a person must find in the message
	}{
		"empty":                   {"", code.BadMessage, "payload is empty"},
		"blanks":                  {" \n", code.BadMessage, "payload is empty"},
		"1 MB of junk":            {strings.Repeat("\xfe\x00junk", 1<<20/6), code.TooLarge, "at most 4096"},
		"a little junk":           {"hello", code.BadMessage, `"hello"`},
		"binary junk":             {"\xc1\x00\xff", code.BadMessage, "not a MessagePack map"},
		"text in another script":  {"ä64", code.BadMessage, "not a MessagePack map"},
		"JSON array":              {`["price"]`, code.BadMessage, "send"},
		"JSON cut":                {`{"price":"1"`, code.BadMessage, "not JSON"},
		"JSON and more":           {`{"price":"1"}{"price":"2"}`, code.BadMessage, "not JSON"},
		"JSON, price twice":       {`{"price":"1","price":"2"}`, code.BadMessage, "price is given twice"},
		"JSON, bid twice":         {`{"price":"1","bid":1,"bid":1}`, code.BadMessage, "bid is given twice"},
		"no price":                {`{}`, code.BadPrice, "price is missing"},
		"another letter":          {`{"Price":"1"}`, code.BadPrice, "price is missing"},
		"price null":              {`{"price":null}`, code.BadPrice, "price is missing"},
		"abc":                     {`{"price":"abc"}`, code.BadPrice, `price "abc": not a decimal`},
		"-1":                      {`{"price":"-1"}`, code.BadPrice, "no sign"},
		"-1 number":               {`{"price":-1}`, code.BadPrice, "no sign"},
		"-1 bare":                 {`-1`, code.BadPrice, "no sign"},
		"+1 bare":                 {`+1`, code.BadPrice, "no sign"},
		".5 bare":                 {`.5`, code.BadPrice, "not a decimal"},
		"0":                       {`{"price":"0"}`, code.BadPrice, "must be above 0"},
		"0 bare":                  {`0`, code.BadPrice, "must be above 0"},
		"0.00":                    {`{"price":0.00}`, code.BadPrice, "must be above 0"},
		"1e400":                   {`{"price":"1e400"}`, code.BadPrice, "no exponent"},
		"1e400 number":            {`{"price":1e400}`, code.BadPrice, "no exponent"},
		"1e400 bare":              {`1e400`, code.BadPrice, "no exponent"},
		"30 decimals":             {`{"price":"1.` + strings.Repeat("1", 30) + `"}`, code.BadPrice, "more than 18 digits, or more than 12"},
		"30 decimals bare":        {`1.` + strings.Repeat("1", 30), code.BadPrice, "more than 18 digits, or more than 12"},
		"19 digits":               {`{"price":1000000000000000000}`, code.BadPrice, "more than 18 digits"},
		"empty text":              {`{"price":""}`, code.BadPrice, "not a decimal"},
		"NaN":                     {`{"price":"NaN"}`, code.BadPrice, "not a decimal"},
		"comma":                   {`64123,51`, code.BadPrice, "not a decimal"},
		"boolean":                 {`{"price":true}`, code.BadPrice, "a string or a number"},
		"array":                   {`{"price":[1]}`, code.BadPrice, "a string or a number"},
		"object":                  {`{"price":{"price":1}}`, code.BadPrice, "a string or a number"},
		"bid abc":                 {`{"price":1,"bid":"abc"}`, code.BadField, `bid "abc"`},
		"ask 0":                   {`{"price":1,"ask":0}`, code.BadField, "ask"},
		"volume negative":         {`{"price":1,"volume":-3}`, code.BadField, `volume "-3"`},
		"a day ahead":             {`{"price":1,"ts":1763856000123456}`, code.BadTime, "24h0m0s ahead"},
		"a minute and 1 us ahead": {`{"price":1,"ts":1763769660123457}`, code.BadTime, "at most 1m0s"},
		"ts in nanoseconds":       {`{"price":1,"ts":1763769600123456000}`, code.BadTime, "microseconds"},
		"ts too long":             {`{"price":1,"ts":99999999999999999999}`, code.BadTime, "microseconds"},
		"ts 0":                    {`{"price":1,"ts":0}`, code.BadTime, "above 0"},
		"ts negative":             {`{"price":1,"ts":-5}`, code.BadTime, "above 0"},
		"ts as a string":          {`{"price":1,"ts":"1763769600123456"}`, code.BadTime, "as a string"},
		"ts with a point":         {`{"price":1,"ts":1763769600.123}`, code.BadTime, "an integer"},
		"ts as a date":            {`{"price":1,"ts":"2025-11-22T00:00:00Z"}`, code.BadTime, "as a string"},
		"ts array":                {`{"price":1,"ts":[]}`, code.BadTime, "ts"},
		"price before bid":        {`{"ts":"x","bid":"x","price":"x"}`, code.BadPrice, "price"},
		"MessagePack float":       {pack(t, map[string]any{"price": 64123.51}), code.BadPrice, "is a float, which is not exact"},
		"MessagePack float32":     {pack(t, map[string]any{"price": float32(1)}), code.BadPrice, "is a float"},
		"MessagePack bid float":   {pack(t, map[string]any{"price": 1, "bid": 1.0}), code.BadField, "bid is a float"},
		"MessagePack ts float":    {pack(t, map[string]any{"price": 1, "ts": 1763769600123456.0}), code.BadTime, "is a float"},
		"MessagePack ts string":   {pack(t, map[string]any{"price": 1, "ts": "1763769600123456"}), code.BadTime, "as a string"},
		"MessagePack negative":    {pack(t, map[string]any{"price": -1}), code.BadPrice, `"-1"`},
		"MessagePack 2^64-1":      {pack(t, map[string]any{"price": uint64(math.MaxUint64)}), code.BadPrice, "more than 18 digits"},
		"MessagePack boolean":     {pack(t, map[string]any{"price": true}), code.BadPrice, "wrong type"},
		"MessagePack array":       {pack(t, []string{"price"}), code.BadMessage, "not a MessagePack map"},
		"MessagePack key 1":       {pack(t, map[int]string{1: "x"}), code.BadMessage, "string keys"},
		"MessagePack and more":    {pack(t, map[string]any{"price": 1}) + "\n", code.BadMessage, "1 bytes after the end"},
		"MessagePack cut":         {pack(t, map[string]any{"price": "64123.51"})[:10], code.BadMessage, "ends early"},
		"MessagePack twice":       {"\x82\xa5price\x01\xa5price\x02", code.BadMessage, "price is given twice"},
		"MessagePack deep":        {"\x82\xa5price\x01\xa1x" + strings.Repeat("\x91", 2000) + "\x01", code.BadMessage, "nested too deep"},
		"MessagePack empty":       {"\x80", code.BadPrice, "price is missing"},
	} {
		got, err := ParseQuote([]byte(c.payload), now)
		var e *code.Error
		if !errors.As(err, &e) || e.Code != c.want || !strings.Contains(e.Message, c.says) {
			t.Errorf("%s: %v, want %s with %q", name, err, c.want, c.says)
		} else if len(e.Message) > 300 {
			t.Errorf("%s: a message of %d bytes: %s", name, len(e.Message), e.Message)
		}
		if got != (Quote{}) {
			t.Errorf("%s: a quote all the same: %+v", name, got)
		}
	}
}

func FuzzParseQuote(f *testing.F) {
	for _, s := range []string{"", "64123.51", "-1", "1e400", `{"price":"64123.51","bid":64123.5,"ts":1763769600123456}`, `{"price":1,"price":2}`, `{"price":{}}`,
		pack(f, map[string]any{"price": "1", "ts": 5}), pack(f, map[string]any{"price": 1.5}), "\x82\xa5price\x01\xa5price\x02"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		q, err := ParseQuote(p, now)
		if err != nil {
			var e *code.Error
			if !errors.As(err, &e) || e.Code == code.Internal || e.Message == "" || q != (Quote{}) {
				t.Fatalf("%q: %v, %+v", p, err, q)
			}
			return
		}
		if !q.Price.Positive() || q.TS <= 0 || q.TS > now.Add(MaxAhead).UnixMicro() {
			t.Fatalf("%q: %+v", p, q)
		}
		in := Tick{Symbol: "X", Position: Position{1, 1}, Quote: q}
		out, err := Decode(in.Append(nil))
		if err != nil || out != in {
			t.Fatalf("%q: as a tick %+v, %v, want %+v", p, out, err, in)
		}
	})
}
