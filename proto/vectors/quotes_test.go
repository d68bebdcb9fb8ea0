package vectors_test

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/tick"
)

// quotes are payloads of ingest.<symbol>, received at Now (microseconds since 1970 UTC).
type quotes struct {
	Now    int64   `json:"now"`
	Quotes []quote `json:"quotes"`
}

type quote struct {
	Name    string         `json:"name"`
	Payload string         `json:"payload,omitempty"`
	Hex     string         `json:"hex,omitempty"`
	Quote   map[string]any `json:"quote,omitempty"`
	Code    code.Code      `json:"code,omitempty"`
}

func (q quote) bytes(t *testing.T) []byte {
	t.Helper()
	if q.Hex == "" {
		return []byte(q.Payload)
	}
	p, err := hex.DecodeString(q.Hex)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// text makes values comparable that have been through JSON and such that have not.
func text(t *testing.T, v any) string {
	t.Helper()
	p, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(p)
}

func TestVectorsQuotes(t *testing.T) {
	now := time.UnixMicro(1763769600123456)
	packed := func(s string) string { return hex.EncodeToString([]byte(s)) }
	in := quotes{Now: now.UnixMicro(), Quotes: []quote{
		{Name: "JSON, string", Payload: `{"price":"64123.51"}`},
		{Name: "JSON, number", Payload: `{"price":64123.510}`},
		{Name: "JSON, all fields", Payload: `{"price":"10","bid":9,"ask":"11.0","size":0,"bid_size":1.5,"ask_size":2,"open":8,"high":12,"low":7,"volume":"0.00","ts":1763769600000000}`},
		{Name: "JSON, unknown field and null", Payload: `{"price":"1","exchange":"x","bid":null}`},
		{Name: "bare decimal", Payload: "64123.51\n"},
		{Name: "MessagePack, string", Hex: packed("\x81\xa5price\xa864123.51")},
		{Name: "MessagePack, integers", Hex: packed("\x82\xa5price\xcd\x01\x00\xa2ts\xce\x7f\xff\xff\xff")},
		{Name: "ts a minute ahead", Payload: `{"price":1,"ts":1763769660123456}`},
		{Name: "empty", Payload: "", Code: code.BadMessage},
		{Name: "junk", Payload: "hello", Code: code.BadMessage},
		{Name: "too large", Payload: "1." + strings.Repeat("0", 4095), Code: code.TooLarge},
		{Name: "JSON cut", Payload: `{"price":"1"`, Code: code.BadMessage},
		{Name: "a field twice", Payload: `{"price":"1","price":"1"}`, Code: code.BadMessage},
		{Name: "no price", Payload: `{}`, Code: code.BadPrice},
		{Name: "abc", Payload: `{"price":"abc"}`, Code: code.BadPrice},
		{Name: "-1", Payload: `{"price":"-1"}`, Code: code.BadPrice},
		{Name: "-1, bare", Payload: `-1`, Code: code.BadPrice},
		{Name: "0", Payload: `{"price":"0"}`, Code: code.BadPrice},
		{Name: "1e400", Payload: `{"price":1e400}`, Code: code.BadPrice},
		{Name: "30 decimals", Payload: `{"price":"1.333333333333333333333333333333"}`, Code: code.BadPrice},
		{Name: "boolean", Payload: `{"price":true}`, Code: code.BadPrice},
		{Name: "bid of 0", Payload: `{"price":1,"bid":0}`, Code: code.BadField},
		{Name: "ts a minute and a microsecond ahead", Payload: `{"price":1,"ts":1763769660123457}`, Code: code.BadTime},
		{Name: "ts in quotes", Payload: `{"price":1,"ts":"1763769600000000"}`, Code: code.BadTime},
		{Name: "ts with a fraction", Payload: `{"price":1,"ts":1763769600.5}`, Code: code.BadTime},
		{Name: "MessagePack, float", Hex: packed("\x81\xa5price\xcb\x40\x1c\x00\x00\x00\x00\x00\x00"), Code: code.BadPrice},
		{Name: "MessagePack, array", Hex: packed("\x91\xa11"), Code: code.BadMessage},
	}}
	read := func(q quote) (map[string]any, error) {
		got, err := tick.ParseQuote(q.bytes(t), now)
		if err != nil {
			return nil, err
		}
		v := map[string]any{"ts": got.TS}
		for i, d := range got.Fields() {
			if d.Given() {
				v[tick.Names[i]] = d.String()
			}
		}
		return v, nil
	}
	for i, q := range in.Quotes {
		if q.Code == "" {
			v, err := read(q)
			if err != nil {
				t.Fatalf("%s: %v", q.Name, err)
			}
			in.Quotes[i].Quote = v
		}
	}
	for _, q := range golden(t, "quotes.json", in).Quotes {
		got, err := read(q)
		var e *code.Error
		switch {
		case q.Code != "":
			if !errors.As(err, &e) || e.Code != q.Code {
				t.Errorf("%s: %v, %v, want %s", q.Name, got, err, q.Code)
			}
		case err != nil || text(t, got) != text(t, q.Quote):
			t.Errorf("%s: %v, %v, want %v", q.Name, got, err, q.Quote)
		}
	}
}
