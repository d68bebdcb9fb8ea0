package exchange

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// Recording is what an exchange once sent: lines of
//
//	{"ts":<receive time, ns>,"dir":"recv","data":"<raw text frame>"}
//
// Lines of another dir, and frames that answer a client (acks, errors), are left out: the fake has answers of its own.
type Recording struct {
	Frames   []Frame
	Products []string // in the order of their first tickers
	beats    bool     // it has heartbeats
}

// Frame is one frame as it was sent.
type Frame struct {
	At   time.Duration // after the first one
	Data []byte

	header
}

// header is what the fake itself reads of a frame.
type header struct {
	Type     string    `json:"type"`
	Product  string    `json:"product_id"`
	TradeID  uint64    `json:"trade_id"`
	Sequence uint64    `json:"sequence"`
	Price    string    `json:"price"`
	BestBid  string    `json:"best_bid"`
	BestAsk  string    `json:"best_ask"`
	Time     time.Time `json:"time"`
}

// Ticker is what a ticker frame says of the price.
type Ticker struct {
	Price, Bid, Ask string
	Time            int64 // microseconds since 1970 UTC
}

// Channels of the feed, and what they are called in frames.
const (
	chTicker    = "ticker"
	chMatches   = "matches"
	chHeartbeat = "heartbeat"
)

// channel is the channel that a frame of the recording belongs to, "" if it is an answer.
func (f *Frame) channel() string {
	switch f.Type {
	case "ticker":
		return chTicker
	case "match", "last_match":
		return chMatches
	case "heartbeat":
		return chHeartbeat
	}
	return ""
}

// Open reads a recording from a file; one that ends in .gz is unpacked.
func Open(path string) (*Recording, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open recording: %w", err)
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			return nil, fmt.Errorf("unpack recording %s: %w", path, err)
		}
	}
	rec, err := Read(r)
	if err != nil {
		return nil, fmt.Errorf("read recording %s: %w", path, err)
	}
	return rec, nil
}

// Read reads a recording.
func Read(r io.Reader) (*Recording, error) {
	rec := &Recording{}
	known := map[string]bool{}
	var first int64
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		var l struct {
			TS        int64
			Dir, Data string
		}
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if l.Dir != "recv" {
			continue
		}
		f := Frame{Data: []byte(l.Data)}
		if err := json.Unmarshal(f.Data, &f.header); err != nil {
			return nil, fmt.Errorf("line %d, frame: %w", n, err)
		}
		ch := f.channel()
		if ch == "" {
			continue
		}
		if len(rec.Frames) == 0 {
			first = l.TS
		}
		f.At = time.Duration(l.TS - first)
		if ch == chTicker && !known[f.Product] {
			known[f.Product] = true
			rec.Products = append(rec.Products, f.Product)
		}
		rec.beats = rec.beats || ch == chHeartbeat
		rec.Frames = append(rec.Frames, f)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(rec.Products) == 0 {
		return nil, errors.New("no ticker in it")
	}
	return rec, nil
}

// Tickers are the ticker frames of each product, in order.
func (r *Recording) Tickers() map[string][]Ticker {
	all := map[string][]Ticker{}
	for _, f := range r.Frames {
		if f.channel() == chTicker {
			all[f.Product] = append(all[f.Product], Ticker{f.Price, f.BestBid, f.BestAsk, f.Time.UnixMicro()})
		}
	}
	return all
}
