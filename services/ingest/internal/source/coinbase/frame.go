package coinbase

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/tick"
)

// Types of frames.
const (
	typeTicker        = "ticker"
	typeHeartbeat     = "heartbeat"
	typeSubscriptions = "subscriptions"
	typeError         = "error"
)

// frame is any frame of the feed: the fields of all the types that are read, so that one pass over the text does.
//
//	{"type":"ticker","sequence":132243038064,"product_id":"BTC-USD","price":"62975.91","open_24h":"63798.2",
//	 "volume_24h":"8737.20775975","low_24h":"62583","high_24h":"64199.93","best_bid":"62975.90",
//	 "best_bid_size":"0.00001797","best_ask":"62975.91","best_ask_size":"0.01479766","side":"buy",
//	 "time":"2026-07-08T01:56:01.617651Z","trade_id":1052192039,"last_size":"0.06180656"}
//	{"type":"heartbeat","last_trade_id":825499712,"product_id":"ETH-USD","sequence":100334272014,"time":"…"}
//	{"type":"subscriptions","channels":[{"name":"ticker","product_ids":["BTC-USD"]}]}      the whole set, in any order
//	{"type":"error","message":"Failed to subscribe","reason":"X is not a valid product"}
type frame struct {
	Type      string `json:"type"`
	ProductID string `json:"product_id"`
	Sequence  uint64 `json:"sequence"`

	TradeID     uint64 `json:"trade_id"`
	Price       string `json:"price"`
	BestBid     string `json:"best_bid"`
	BestAsk     string `json:"best_ask"`
	LastSize    string `json:"last_size"`
	BestBidSize string `json:"best_bid_size"` // not before 2022, like the next
	BestAskSize string `json:"best_ask_size"`
	Open24h     string `json:"open_24h"`
	High24h     string `json:"high_24h"`
	Low24h      string `json:"low_24h"`
	Volume24h   string `json:"volume_24h"`
	Time        string `json:"time"`

	LastTradeID uint64 `json:"last_trade_id"`

	Channels []channel `json:"channels"`

	Message string `json:"message"`
	Reason  string `json:"reason"`
}

type channel struct {
	Name       string   `json:"name"`
	ProductIDs []string `json:"product_ids"`
}

// decode reads a frame. It may fail on a frame of a type that is not read; Type tells then, if it could be read.
func decode(p []byte) (f frame, err error) {
	if err = json.Unmarshal(p, &f); err != nil {
		return f, fmt.Errorf("decode frame %s: %w", code.Quote(p), err)
	}
	return f, nil
}

// quote makes a ticker frame a Quote and gives the number of fields that it had to leave out: one that is no decimal,
// is longer than ours, or is a bid or ask of 0 must not cost the price beside it. The error is a *code.Error,
// bad_price.
//
// A time that is missing, or more than tick.MaxAhead before us, becomes now for the same reason: our clock may be the
// wrong one, and the price is the newest there is.
func (f *frame) quote(now time.Time) (q tick.Quote, dropped int, err error) {
	price, perr := tick.ParseDecimal(f.Price)
	switch {
	case perr != nil:
		return q, 0, code.Errorf(code.BadPrice, "price %s: %v", code.Quote(f.Price), perr)
	case !price.Positive():
		return q, 0, code.Errorf(code.BadPrice, "price %s: must be above 0", code.Quote(f.Price))
	}
	q.Price = price
	for _, o := range [...]struct {
		dst      *tick.Decimal
		text     string
		positive bool
	}{
		{&q.Bid, f.BestBid, true},
		{&q.Ask, f.BestAsk, true},
		{&q.Size, f.LastSize, false},
		{&q.BidSize, f.BestBidSize, false},
		{&q.AskSize, f.BestAskSize, false},
		{&q.Open, f.Open24h, true},
		{&q.High, f.High24h, true},
		{&q.Low, f.Low24h, true},
		{&q.Volume, f.Volume24h, false},
	} {
		if o.text == "" {
			continue
		}
		d, err := tick.ParseDecimal(o.text)
		if err != nil || o.positive && !d.Positive() {
			dropped++
			continue
		}
		*o.dst = d
	}
	q.TS = now.UnixMicro()
	if f.Time != "" {
		t, err := time.Parse(time.RFC3339Nano, f.Time)
		if err != nil || t.UnixMicro() <= 0 || t.After(now.Add(tick.MaxAhead)) {
			dropped++
		} else {
			q.TS = t.UnixMicro()
		}
	}
	return q, dropped, nil
}

// request is what is said to the exchange.
type request struct {
	Type       string   `json:"type"`
	ProductIDs []string `json:"product_ids"`
	Channels   []string `json:"channels"`
}

func subscribeTo(products []string) []byte {
	p, err := json.Marshal(request{Type: "subscribe", ProductIDs: products, Channels: []string{typeTicker, typeHeartbeat}})
	if err != nil {
		panic(err) // strings
	}
	return p
}
