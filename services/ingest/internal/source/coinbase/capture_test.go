package coinbase

import (
	"bufio"
	"compress/gzip"
	"embed"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/proto/subject"
)

//go:embed testdata/*.jsonl
var fixtures embed.FS

// TestRecordedTraffic plays recorded frames through a real WebSocket: each ticker's price comes out once and in order.
// The recordings are those in the folder FEEDS, or else the small fixtures of our own.
func TestRecordedTraffic(t *testing.T) {
	if feeds := os.Getenv("FEEDS"); feeds != "" {
		names, err := filepath.Glob(filepath.Join(feeds, "frames", "coinbase_exchange_*.jsonl.gz"))
		if err != nil || len(names) == 0 {
			t.Fatalf("FEEDS=%s has no frames/coinbase_exchange_*.jsonl.gz (%v)", feeds, err)
		}
		for _, name := range names {
			f, err := os.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			z, err := gzip.NewReader(f)
			if err != nil {
				t.Fatal(err)
			}
			t.Run(filepath.Base(name), func(t *testing.T) { play(t, z) })
		}
		return
	}
	t.Log("FEEDS is not set: playing the project's own fixtures, not recorded exchange traffic")
	files, err := fs.Glob(fixtures, "testdata/*.jsonl")
	if err != nil || len(files) == 0 {
		t.Fatal("no fixtures", err)
	}
	for _, name := range files {
		f, err := fixtures.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(filepath.Base(name), func(t *testing.T) { play(t, f) })
	}
}

func play(t *testing.T, recording io.Reader) {
	want := map[subject.Symbol][]string{}
	var frames []string
	var products []subject.Symbol
	tickers, others := int64(0), int64(0)
	lines := bufio.NewScanner(recording)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct{ Dir, Data string }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		if line.Dir != "recv" {
			continue
		}
		var f struct {
			Type, Price string
			ProductID   subject.Symbol `json:"product_id"`
		}
		if err := json.Unmarshal([]byte(line.Data), &f); err != nil {
			t.Fatal(err)
		}
		switch f.Type {
		case "subscriptions":
			continue // the fake exchange acknowledges by itself
		case "ticker":
			tickers++
			if !slices.Contains(products, f.ProductID) {
				products = append(products, f.ProductID)
			}
			want[f.ProductID] = append(want[f.ProductID], f.Price)
		default:
			others++
		}
		frames = append(frames, line.Data)
	}
	if err := lines.Err(); err != nil || tickers == 0 {
		t.Fatalf("%d tickers read, %v", tickers, err)
	}

	x := newExchange(t)
	r := receive(t, x.url, products...)
	x.subscribes(t, 1)
	c := x.client(t, 0)
	for _, f := range frames {
		c.send(f)
	}
	for sym, prices := range want {
		r.gets(t, sym, strings.Join(prices, " "))
	}
	s := r.stats
	natstest.Eventually(t, patience, func() bool { return s.Heartbeats.Load()+s.Unknown.Load() == others }, "all other frames are counted")
	if s.Tickers.Load() != tickers || s.Gaps.Load() != 0 || s.Repeated.Load() != 0 || s.Bad.Load() != 0 || s.Fields.Load() != 0 {
		t.Errorf("tickers %d of %d, gaps %d, repeated %d, bad %d, fields %d", s.Tickers.Load(), tickers,
			s.Gaps.Load(), s.Repeated.Load(), s.Bad.Load(), s.Fields.Load())
	}
	t.Logf("%d ticker frames of %d products, %d other frames", tickers, len(products), others)
}
