package vectors_test

import (
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

// message is one message of the client protocol in its encodings.
type message struct {
	Name    string    `json:"name"`
	JSON    string    `json:"json,omitempty"`
	Msgpack string    `json:"msgpack,omitempty"`
	Code    code.Code `json:"code,omitempty"`
}

func (m message) bytes(t *testing.T, f session.Format) []byte {
	t.Helper()
	if f == session.JSON {
		return []byte(m.JSON)
	}
	p, err := hex.DecodeString(m.Msgpack)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func id(n int64) *int64 { return &n }

func TestVectorsClient(t *testing.T) {
	type position = tick.Position
	requests := []struct {
		name string
		r    session.Request
	}{
		{"ping", session.Request{Op: session.OpPing}},
		{"ping with id", session.Request{Op: session.OpPing, ID: id(4)}},
		{"ping with the lowest id", session.Request{Op: session.OpPing, ID: id(-1 << 63)}},
		{"subscribe", session.Request{Op: session.OpSubscribe, ID: id(1), Symbols: []subject.Symbol{"BTC-USD", "ETH-USD"}}},
		{"subscribe with max_rate", session.Request{Op: session.OpSubscribe, ID: id(2), Symbols: []subject.Symbol{"BTC-USD"}, MaxRate: 10}},
		{"subscribe every", session.Request{Op: session.OpSubscribe, ID: id(3), Symbols: []subject.Symbol{"BTC-USD"}, Mode: session.Every}},
		{"subscribe every after", session.Request{Op: session.OpSubscribe, ID: id(200), Symbols: []subject.Symbol{"BTC-USD", "ETH-USD"},
			Mode: session.Every, After: map[subject.Symbol]position{"BTC-USD": {Epoch: 1763769600, Seq: 1039}, "ETH-USD": {Epoch: 1763769600}}}},
		{"unsubscribe", session.Request{Op: session.OpUnsubscribe, ID: id(70000), Symbols: []subject.Symbol{"NEW-USD"}}},
	}
	var made []message
	for _, c := range requests {
		made = append(made, message{Name: c.name, JSON: string(session.AppendRequest(session.JSON, nil, &c.r)),
			Msgpack: hex.EncodeToString(session.AppendRequest(session.MessagePack, nil, &c.r))})
	}
	for i, m := range golden(t, "client.json", made) {
		for f := range session.Format(session.Formats) {
			if r, err := session.DecodeRequest(f, m.bytes(t, f)); err != nil || !reflect.DeepEqual(r, requests[i].r) {
				t.Errorf("%s in %s: %+v, %v", m.Name, f, r, err)
			}
		}
	}
}

func TestVectorsClientRefused(t *testing.T) {
	made := []message{
		{Name: "not JSON", JSON: `hello`, Code: code.BadMessage},
		{Name: "two messages in one", JSON: `{"op":"ping"}{"op":"ping"}`, Code: code.BadMessage},
		{Name: "array", JSON: `["ping"]`, Code: code.BadMessage},
		{Name: "a field twice", JSON: `{"op":"ping","op":"ping"}`, Code: code.BadMessage},
		{Name: "op missing", JSON: `{"id":1}`, Code: code.BadOp},
		{Name: "op unknown", JSON: `{"op":"publish"}`, Code: code.BadOp},
		{Name: "op is a number", JSON: `{"op":1}`, Code: code.BadMessage},
		{Name: "id is a string", JSON: `{"op":"ping","id":"1"}`, Code: code.BadMessage},
		{Name: "id is a fraction", JSON: `{"op":"ping","id":1.5}`, Code: code.BadMessage},
		{Name: "symbols missing", JSON: `{"op":"subscribe"}`, Code: code.BadMessage},
		{Name: "symbols empty", JSON: `{"op":"subscribe","symbols":[]}`, Code: code.BadMessage},
		{Name: "symbols is a string", JSON: `{"op":"subscribe","symbols":"BTC-USD"}`, Code: code.BadMessage},
		{Name: "symbol in lower case", JSON: `{"op":"subscribe","symbols":["btc usd"]}`, Code: code.BadSymbol},
		{Name: "mode unknown", JSON: `{"op":"subscribe","symbols":["BTC-USD"],"mode":"all"}`, Code: code.BadMode},
		{Name: "max_rate with every", JSON: `{"op":"subscribe","symbols":["BTC-USD"],"mode":"every","max_rate":10}`, Code: code.BadMode},
		{Name: "max_rate 0", JSON: `{"op":"subscribe","symbols":["BTC-USD"],"max_rate":0}`, Code: code.BadRate},
		{Name: "max_rate 101", JSON: `{"op":"subscribe","symbols":["BTC-USD"],"max_rate":101}`, Code: code.BadRate},
		{Name: "after with latest", JSON: `{"op":"subscribe","symbols":["BTC-USD"],"after":{"BTC-USD":[1,1]}}`, Code: code.BadAfter},
		{Name: "after of another symbol", JSON: `{"op":"subscribe","symbols":["BTC-USD"],"mode":"every","after":{"ETH-USD":[1,1]}}`, Code: code.BadAfter},
		{Name: "after without seq", JSON: `{"op":"subscribe","symbols":["BTC-USD"],"mode":"every","after":{"BTC-USD":[1]}}`, Code: code.BadAfter},
		{Name: "id is a float of MessagePack", Msgpack: hex.EncodeToString([]byte("\x82\xa2op\xa4ping\xa2id\xcb\x40\x1c\x00\x00\x00\x00\x00\x00")), Code: code.BadMessage},
		{Name: "two maps in one", Msgpack: hex.EncodeToString([]byte("\x81\xa2op\xa4ping\x81\xa2op\xa4ping")), Code: code.BadMessage},
		{Name: "a JSON text where MessagePack is spoken", Msgpack: hex.EncodeToString([]byte(`{"op":"ping"}`)), Code: code.BadMessage},
		{Name: "nested deeper than 16", Msgpack: hex.EncodeToString([]byte("\x82\xa2op\xa4ping\xa1x" + strings.Repeat("\x91", 17) + "\x01")), Code: code.BadMessage},
	}
	for _, m := range golden(t, "client_refused.json", made) {
		f := session.JSON
		if m.Msgpack != "" {
			f = session.MessagePack
		}
		_, err := session.DecodeRequest(f, m.bytes(t, f))
		var e *code.Error
		if !errors.As(err, &e) || e.Code != m.Code {
			t.Errorf("%s: %v, want %s", m.Name, err, m.Code)
		}
	}
}

func TestVectorsServer(t *testing.T) {
	messages := []struct {
		name string
		m    session.Message
	}{
		{"subscribed", session.Message{Op: session.OpSubscribed, ID: id(1), Symbols: []subject.Symbol{"BTC-USD", "ETH-USD"}}},
		{"subscribed with no_price", session.Message{Op: session.OpSubscribed, ID: id(1), Symbols: []subject.Symbol{"BTC-USD", "NEW-USD"}, NoPrice: []subject.Symbol{"NEW-USD"}}},
		{"unsubscribed", session.Message{Op: session.OpUnsubscribed, ID: id(3), Symbols: []subject.Symbol{"NEW-USD"}}},
		{"unsubscribed without id", session.Message{Op: session.OpUnsubscribed, Symbols: []subject.Symbol{"NEW-USD"}}},
		{"gap", session.Message{Op: session.OpGap, Symbol: "BTC-USD", Epoch: 1763769600, From: 1040, To: 1041}},
		{"gap with url", session.Message{Op: session.OpGap, Symbol: "BTC-USD", Epoch: 1763769600, From: 1040, To: 1041,
			URL: session.RangeURL(tick.Range{Symbol: "BTC-USD", Epoch: 1763769600, From: 1040, To: 1041})}},
		{"gap without an end", session.Message{Op: session.OpGap, Symbol: "BTC-USD", Epoch: 1763769600, From: 1040}},
		{"pong", session.Message{Op: session.OpPong, ID: id(4), TS: 1763769600300000}},
		{"error", session.Message{Op: session.OpError, ID: id(5), Code: code.BadSymbol, Message: `symbol "btc usd": 1 to 32 of A-Z 0-9 - _`}},
		{"error without id", session.Message{Op: session.OpError, Code: code.BadMessage, Message: `not JSON: invalid character 'h' looking for beginning of value`}},
		{"stale", session.Message{Op: session.OpStale, AgeMS: 3200}},
		{"stale without an age", session.Message{Op: session.OpStale}},
		{"fresh", session.Message{Op: session.OpFresh}},
		{"reconnect", session.Message{Op: session.OpReconnect, AfterMS: 1830, Reason: "drain"}},
	}
	var made []message
	for _, c := range messages {
		made = append(made, message{Name: c.name, JSON: string(c.m.Append(session.JSON, nil)), Msgpack: hex.EncodeToString(c.m.Append(session.MessagePack, nil))})
	}
	for _, c := range ticks() {
		made = append(made, message{Name: c.name, JSON: string(session.AppendTick(session.JSON, nil, &c.t)),
			Msgpack: hex.EncodeToString(session.AppendTick(session.MessagePack, nil, &c.t))})
	}
	for i, m := range golden(t, "server.json", made) {
		var decoded [session.Formats]session.Message
		for f := range session.Format(session.Formats) {
			var err error
			if decoded[f], err = session.DecodeMessage(f, m.bytes(t, f)); err != nil {
				t.Errorf("%s in %s: %v", m.Name, f, err)
			}
		}
		if !reflect.DeepEqual(decoded[session.JSON], decoded[session.MessagePack]) {
			t.Errorf("%s: JSON %+v, MessagePack %+v", m.Name, decoded[session.JSON], decoded[session.MessagePack])
		}
		got := decoded[session.JSON]
		if i < len(messages) {
			if !reflect.DeepEqual(got, messages[i].m) {
				t.Errorf("%s: %+v", m.Name, got)
			}
		} else if want := ticks()[i-len(messages)].t; got.Quote() != want.Quote || got.Symbol != want.Symbol || got.Epoch != want.Epoch || got.Seq != want.Seq {
			t.Errorf("%s: %+v", m.Name, got)
		}
	}
}
