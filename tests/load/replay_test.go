//go:build linux

package load

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/tests/load/fleet"
	"github.com/tickfan/tickfan/tests/load/report"
)

const (
	replayFile  = "binance_spot_btc_eth_l1_trades_20240808.jsonl.gz"
	replaySpeed = 5 // times as fast as it was

	compact fleet.Dialect = "compact" // tickfan.v1.compact
)

// price is what a publisher would give of an exchange's symbol, as text.
type price struct {
	Price   string `json:"price"`
	Bid     string `json:"bid,omitempty"`
	Ask     string `json:"ask,omitempty"`
	Size    string `json:"size,omitempty"`
	BidSize string `json:"bid_size,omitempty"`
	AskSize string `json:"ask_size,omitempty"`
	TS      int64  `json:"ts"`
}

// replayed is a price, and when it comes.
type replayed struct {
	after  time.Duration // the first
	symbol int
	quote  []byte
}

// binance is a frame of Binance's combined stream: bookTicker (b, B, a, A) or trade (p, q).
type binance struct {
	Data struct {
		Event   string `json:"e"`
		At      any    `json:"E"` // else taken for e: encoding/json does not mind case
		Symbol  string `json:"s"`
		Price   string `json:"p"`
		Size    string `json:"q"`
		Bid     any    `json:"b"` // of an old trade: an order's number
		BidSize string `json:"B"`
		Ask     any    `json:"a"`
		AskSize string `json:"A"`
	} `json:"data"`
}

// readReplay makes of a recording what a source would publish: at each frame the symbol's whole price, from the first
// trade on. The time is that of the recording, as a source stamps it.
func readReplay(file string, symbols []string, most int) ([]replayed, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read recording: %w", err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("read recording: %w", err)
	}
	var all []replayed
	now := make([]price, len(symbols))
	first := int64(0)
	for lines := bufio.NewScanner(z); len(all) < most; {
		if !lines.Scan() {
			return all, lines.Err()
		}
		var line struct {
			TS   int64  `json:"ts"` // ns
			Data string `json:"data"`
		}
		var frame binance
		if json.Unmarshal(lines.Bytes(), &line) != nil || json.Unmarshal([]byte(line.Data), &frame) != nil {
			continue // something that is no price
		}
		i := slices.Index(symbols, frame.Data.Symbol)
		if i < 0 {
			continue
		}
		p := &now[i]
		if frame.Data.Event == "trade" {
			p.Price, p.Size = frame.Data.Price, frame.Data.Size
		} else {
			p.Bid, p.BidSize, p.AskSize = fmt.Sprint(frame.Data.Bid), frame.Data.BidSize, frame.Data.AskSize
			p.Ask = fmt.Sprint(frame.Data.Ask)
		}
		if p.Price == "" {
			continue
		}
		p.TS = line.TS / 1000
		quote, err := json.Marshal(p)
		if err != nil {
			return nil, fmt.Errorf("read recording: %w", err)
		}
		if first == 0 {
			first = line.TS
		}
		all = append(all, replayed{time.Duration(line.TS - first), i, quote})
	}
	return all, nil
}

// dialects are those whose payloads are measured.
func dialects() []fleet.Dialect {
	return slices.DeleteFunc([]fleet.Dialect{compact, fleet.MessagePack, fleet.JSON}, func(d fleet.Dialect) bool { return !d.Known() })
}

// runG: recorded traffic of an exchange, each tick to clients of each dialect.
func (b *bench) runG() {
	if b.round > 1 {
		return // bytes do not vary
	}
	feeds := os.Getenv("FEEDS")
	if feeds == "" {
		b.note("G", "Not run: FEEDS does not name a folder with the recorded exchange traffic.")
		b.t.Log("scenario G is not run: FEEDS does not name a folder with the recorded exchange traffic")
		return
	}
	symbols := []string{"BTCUSDT", "ETHUSDT"}
	recording, err := readReplay(filepath.Join(feeds, "frames", replayFile), symbols, pick(b, 40_000, 2_000))
	if err != nil || len(recording) == 0 {
		b.t.Errorf("%d prices: %v", len(recording), err)
		return
	}
	b.attempt(load{scenario: "G", server: edge, symbols: 0}, func(s *site) bool {
		s.numbers = make([]uint64, len(symbols))
		s.run.Symbols = len(symbols)
		// Each symbol's first price, so that there is a snapshot.
		for i := range symbols {
			at := slices.IndexFunc(recording, func(r replayed) bool { return r.symbol == i })
			s.publishFirst(i, symbols[i], recording[at].quote)
		}
		s.awaitPrice(symbols...)
		var plans []fleet.Plan
		for _, d := range dialects() {
			plans = append(plans, fleet.Plan{Name: string(d), Sockets: 4, Dialect: d, Names: symbols, Each: len(symbols), Mode: "every"})
		}
		if !s.connect(plans...) {
			return false
		}
		s.window()
		s.replay(symbols, recording)
		s.finish(patience)
		for name, r := range s.fleet.Report() {
			s.run.More[name+" median"] = float64(r.PayloadSize.ValueAtQuantile(50))
			s.run.More[name+" mean"] = r.PayloadSize.Mean()
			s.run.More[name+" p99"] = float64(r.PayloadSize.ValueAtQuantile(99))
			s.run.More[name+" told missing"] = float64(r.ToldMissing)
		}
		return true
	})
}

// replay publishes a recording in its own time, faster.
func (s *site) replay(symbols []string, recording []replayed) {
	began := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for _, r := range recording {
		if wait := r.after/replaySpeed - time.Since(began); wait > 0 {
			timer.Reset(wait)
			<-timer.C
		}
		s.numbers[r.symbol]++
		if err := s.nc.Publish(subject.Ingest(subject.Symbol(symbols[r.symbol])), r.quote); err != nil {
			s.t.Fatalf("publish: %v", err)
		}
	}
	s.run.Published, s.run.Window = len(recording), time.Since(began).Seconds()
	s.run.AskedRate = float64(len(recording)) / (recording[len(recording)-1].after / replaySpeed).Seconds()
}

func (b *bench) tellG() report.Scenario {
	s := report.Scenario{Title: "bytes of an update, recorded traffic of Binance (book ticker and trades, 2 symbols), mode every",
		Head: []string{"dialect", "median", "mean", "p99", "told missing"}}
	m := func(name string) float64 {
		return b.median("G", edge, "", func(r *report.Run) float64 {
			if v, ok := r.More[name]; ok {
				return v
			}
			return report.Median(nil)
		})
	}
	s.Targets = []report.Target{
		report.AtMost("payload of an update in tickfan.v1.compact, median", m(string(compact)+" median"), 16, 0, " bytes"),
		b.allRight("G"),
	}
	for _, d := range dialects() {
		n := string(d)
		s.Rows = append(s.Rows, []string{n, figure("%.0f", m(n+" median")), figure("%.1f", m(n+" mean")), figure("%.0f", m(n+" p99")), figure("%.0f", m(n+" told missing"))})
	}
	if !compact.Known() {
		s.Notes = append(s.Notes, "The clients of this test do not speak tickfan.v1.compact.")
	}
	return s
}
