package session

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

// recordings are the files of recorded exchange traffic, or nil where there are none.
func recordings(tb testing.TB, pattern string) []string {
	tb.Helper()
	feeds := os.Getenv("FEEDS")
	if feeds == "" {
		if os.Getenv("CI") == "true" {
			tb.Fatal("FEEDS is not set: in CI the recorded exchange traffic must be played")
		}
		return nil
	}
	names, err := filepath.Glob(filepath.Join(feeds, "frames", pattern))
	if err != nil || len(names) == 0 {
		tb.Fatalf("FEEDS=%s has no frames/%s (%v)", feeds, pattern, err)
	}
	return names
}

// figure is a decimal as a JSON string or number.
type figure string

func (s *figure) UnmarshalJSON(p []byte) error {
	*s = figure(strings.Trim(string(p), `"`))
	return nil
}

// market keeps what one recording has said of each symbol, so that each frame makes a whole tick, as a source does that
// has price and book from different channels.
type market struct {
	tb    testing.TB
	quote map[subject.Symbol]tick.Quote
	seq   map[subject.Symbol]uint64
	ticks []tick.Tick
}

func (m *market) set(d *tick.Decimal, s figure) {
	if s == "" {
		return
	}
	v, err := tick.ParseDecimal(s)
	if err != nil {
		m.tb.Fatalf("decimal %q: %v", s, err)
	}
	*d = v
}

// say makes a tick of q, if there is a price by now.
func (m *market) say(name string, q tick.Quote) {
	s := subject.Symbol(strings.ReplaceAll(name, "/", "-"))
	m.quote[s] = q
	if q.Price.Given() {
		m.seq[s]++
		m.ticks = append(m.ticks, tick.Tick{Symbol: s, Position: tick.Position{Epoch: 1763769600, Seq: m.seq[s]}, Quote: q})
	}
}

// recorded makes the ticks of one recording: of Binance (trade, aggTrade, bookTicker), Coinbase (ticker, match) or Kraken
// (trade, book: the deepest price stands for the price, the recording has no other).
func recorded(tb testing.TB, name string) []tick.Tick {
	tb.Helper()
	f, err := os.Open(name)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	m := &market{tb: tb, quote: map[subject.Symbol]tick.Quote{}, seq: map[subject.Symbol]uint64{}}
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var l struct {
			TS        int64
			Dir, Data string
		}
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			tb.Fatal(err)
		}
		if l.Dir == "recv" {
			m.frame([]byte(l.Data), l.TS/1000)
		}
	}
	if err := lines.Err(); err != nil {
		tb.Fatal(err)
	}
	if len(m.ticks) == 0 {
		tb.Fatalf("%s: no ticks", name)
	}
	return m.ticks
}

func (m *market) frame(p []byte, received int64) {
	var f struct {
		Stream string
		Data   json.RawMessage

		Type, Channel string
		ProductID     string `json:"product_id"`
		Price, Size   figure
		LastSize      figure `json:"last_size"`
		Bid           figure `json:"best_bid"`
		Ask           figure `json:"best_ask"`
		BidSize       figure `json:"best_bid_size"`
		AskSize       figure `json:"best_ask_size"`
		Open          figure `json:"open_24h"`
		High          figure `json:"high_24h"`
		Low           figure `json:"low_24h"`
		Volume        figure `json:"volume_24h"`
		Time          time.Time
	}
	if err := json.Unmarshal(p, &f); err != nil {
		m.tb.Fatalf("%s: %v", p, err)
	}
	switch {
	case f.Stream != "":
		m.binance(f.Stream, f.Data, received)
	case f.Channel == "trade", f.Channel == "book":
		m.kraken(f.Data, received)
	case f.Type == "ticker":
		q := tick.Quote{TS: received}
		if !f.Time.IsZero() {
			q.TS = f.Time.UnixMicro()
		}
		for i, s := range []figure{f.Price, f.Bid, f.Ask, f.LastSize, f.BidSize, f.AskSize, f.Open, f.High, f.Low, f.Volume} {
			m.set(q.Fields()[i], s)
		}
		m.say(f.ProductID, q)
	case f.Type == "match", f.Type == "last_match":
		q := m.quote[subject.Symbol(f.ProductID)]
		q.TS = f.Time.UnixMicro()
		m.set(&q.Price, f.Price)
		m.set(&q.Size, f.Size)
		m.say(f.ProductID, q)
	}
}

func (m *market) binance(stream string, p []byte, received int64) {
	read := func(v any) {
		if err := json.Unmarshal(p, v); err != nil {
			m.tb.Fatalf("%s: %v", p, err)
		}
	}
	var trade struct { // apart from the book's: it once had order ids under the names of bid and ask
		S    string
		P, Q figure
		T    int64 // milliseconds
	}
	var book struct {
		S       string
		Bid     figure `json:"b"`
		BidSize figure `json:"B"`
		Ask     figure `json:"a"`
		AskSize figure `json:"A"`
	}
	switch _, channel, _ := strings.Cut(stream, "@"); channel {
	case "trade", "aggTrade":
		read(&trade)
		q := m.quote[subject.Symbol(trade.S)]
		q.TS = trade.T * 1000
		m.set(&q.Price, trade.P)
		m.set(&q.Size, trade.Q)
		m.say(trade.S, q)
	case "bookTicker":
		read(&book)
		q := m.quote[subject.Symbol(book.S)]
		q.TS = received
		for i, s := range []figure{1: book.Bid, book.Ask, 4: book.BidSize, book.AskSize} {
			m.set(q.Fields()[i], s)
		}
		m.say(book.S, q)
	}
}

func (m *market) kraken(p []byte, received int64) {
	type level struct{ Price, Qty figure }
	var all []struct {
		Symbol     string
		Price, Qty figure
		Timestamp  time.Time
		Bids, Asks []level
	}
	if err := json.Unmarshal(p, &all); err != nil {
		m.tb.Fatalf("%s: %v", p, err)
	}
	for _, d := range all {
		q := m.quote[subject.Symbol(strings.ReplaceAll(d.Symbol, "/", "-"))]
		q.TS = received
		if !d.Timestamp.IsZero() {
			q.TS = d.Timestamp.UnixMicro()
		}
		m.set(&q.Price, d.Price)
		m.set(&q.Size, d.Qty)
		if len(d.Bids) > 0 {
			m.set(&q.Price, d.Bids[0].Price)
			m.set(&q.Bid, d.Bids[0].Price)
			m.set(&q.BidSize, d.Bids[0].Qty)
		}
		if len(d.Asks) > 0 {
			m.set(&q.Ask, d.Asks[0].Price)
			m.set(&q.AskSize, d.Asks[0].Qty)
		}
		m.say(d.Symbol, q)
	}
}
