package session

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

// Ops of an edge.
const (
	OpSubscribed   = "subscribed"
	OpUnsubscribed = "unsubscribed"
	OpTick         = "tick"
	OpGap          = "gap"
	OpPong         = "pong"
	OpError        = "error"
	OpStale        = "stale"
	OpFresh        = "fresh"
	OpReconnect    = "reconnect"
)

// Message is anything that an edge says. Op tells which fields count; the others are absent.
type Message struct {
	Op string `json:"op"`
	ID *int64 `json:"id,omitempty"` // the request's, if it had one

	Symbols []subject.Symbol `json:"symbols,omitempty"`  // subscribed, unsubscribed
	NoPrice []subject.Symbol `json:"no_price,omitempty"` // subscribed: of these, without a price yet
	Numbers []uint32         `json:"numbers,omitempty"`  // subscribed, in Compact: the number of each of Symbols

	Symbol subject.Symbol `json:"symbol,omitempty"` // tick, gap
	Epoch  uint64         `json:"epoch,omitempty"`  // tick, gap
	Seq    uint64         `json:"seq,omitempty"`    // tick
	From   uint64         `json:"from,omitempty"`   // gap: first seq that is missing
	To     uint64         `json:"to,omitempty"`     // gap: last seq that is missing; absent: to the end of the epoch
	URL    string         `json:"url,omitempty"`    // gap: where HTTP may still have it, see RangeURL

	Price   tick.Decimal `json:"price,omitempty"`
	Bid     tick.Decimal `json:"bid,omitempty"`
	Ask     tick.Decimal `json:"ask,omitempty"`
	Size    tick.Decimal `json:"size,omitempty"`
	BidSize tick.Decimal `json:"bid_size,omitempty"`
	AskSize tick.Decimal `json:"ask_size,omitempty"`
	Open    tick.Decimal `json:"open,omitempty"`
	High    tick.Decimal `json:"high,omitempty"`
	Low     tick.Decimal `json:"low,omitempty"`
	Volume  tick.Decimal `json:"volume,omitempty"`

	TS int64 `json:"ts,omitempty"` // tick: the price's time; pong: the edge's clock; microseconds since 1970 UTC

	Code    code.Code `json:"code,omitempty"`    // error
	Message string    `json:"message,omitempty"` // error, for a person

	AgeMS   int64  `json:"age_ms,omitempty"`   // stale: age of ingest's last sign of life, milliseconds
	AfterMS int64  `json:"after_ms,omitempty"` // reconnect: how long to wait before coming back, milliseconds
	Reason  string `json:"reason,omitempty"`   // reconnect: drain or shutdown
}

// Append appends m in format f. Ticks go through AppendTick, which is the hot path.
func (m *Message) Append(f Format, dst []byte) []byte {
	if f == JSON {
		return appendJSON(dst, m)
	}
	return m.appendMsgpack(dst)
}

// DecodeMessage reads a message of an edge. Unknown fields are ignored. In Compact a message for which IsTicks holds is for
// a Decoder.
func DecodeMessage(f Format, p []byte) (Message, error) {
	var m Message
	var err error
	if f == JSON {
		err = json.Unmarshal(p, &m)
	} else {
		err = m.readMsgpack(p)
	}
	if err == nil && m.Op == "" {
		err = errors.New("op is missing")
	}
	if err != nil {
		return Message{}, fmt.Errorf("decode message: %w", err)
	}
	return m, nil
}

// Quote is the prices of a tick message.
func (m *Message) Quote() tick.Quote {
	return tick.Quote{Price: m.Price, Bid: m.Bid, Ask: m.Ask, Size: m.Size, BidSize: m.BidSize, AskSize: m.AskSize,
		Open: m.Open, High: m.High, Low: m.Low, Volume: m.Volume, TS: m.TS}
}
