package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tickfan/tickfan/libs/natstest"
	tickfan "github.com/tickfan/tickfan/libs/sdk/go"
	"github.com/tickfan/tickfan/tests/stack/exchange"
)

// speed is how many times faster than it was the traffic is played.
const speed = 10

// recordings are the files to play.
func recordings(t *testing.T) []string {
	t.Helper()
	feeds := os.Getenv("FEEDS")
	if feeds == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("FEEDS is not set: in CI the recorded exchange traffic must be played")
		}
		t.Log("FEEDS is not set: playing the project's own fixtures, not recorded exchange traffic")
		return []string{"testdata/two_products_with_heartbeats.jsonl", "testdata/ten_products_with_matches.jsonl"}
	}
	return []string{
		filepath.Join(feeds, "frames", "coinbase_exchange_btc_eth_ticker_hb_20260708.jsonl.gz"),
		filepath.Join(feeds, "frames", "coinbase_exchange_10sym_ticker_matches_20210417.jsonl.gz"),
	}
}

// TestRecordedTraffic: each ticker frame's price reaches each client in mode every once and in order, and clients in
// mode latest end on the last.
func TestRecordedTraffic(t *testing.T) {
	t.Parallel()
	for _, file := range recordings(t) {
		name, _, _ := strings.Cut(filepath.Base(file), ".")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			recording, err := exchange.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			playRecording(t, recording)
		})
	}
}

func playRecording(t *testing.T, recording *exchange.Recording) {
	const delisted = "NOPE-USD" // the exchange refuses all for it; the others must not suffer
	x := exchange.Start(t, recording)
	s := start(t, "--source", "coinbase", "--coinbase-url", x.URL(),
		"--coinbase-products", strings.Join(append(slices.Clone(recording.Products), delisted), ","))
	fromExchange := func() int {
		return int(s.Ingest.Metric("tickfan_ingest_ticks_total", `source="coinbase"`))
	}
	natstest.Eventually(t, patience, func() bool { return fromExchange() == len(recording.Products) }, "the current prices are stamped")

	var every, latest []*client
	for i, e := range s.Edges {
		encodings := []tickfan.Encoding{tickfan.Compact, tickfan.JSON}
		every = append(every, dial(t, "every at "+e.Name(), encodings[i%2], e))
		latest = append(latest, dial(t, "latest at "+e.Name(), encodings[(i+1)%2], e))
		every[i].subscribe(recording.Products, tickfan.Every())
		latest[i].subscribe(recording.Products)
	}
	want := recording.Tickers()
	all := slices.Concat(every, latest)
	for _, c := range all {
		natstest.Eventually(t, patience, func() bool {
			for p := range want {
				if len(c.history(p)) == 0 {
					return false
				}
			}
			return true
		}, "%s has each product's current price", c.name)
	}

	if err := x.Play(t.Context(), speed); err != nil {
		t.Fatal(err)
	}

	total := 0
	for product, tickers := range want {
		total += len(tickers)
		last := lastOf(t, every[0], product, len(tickers))
		for _, c := range every {
			c.reaches(product, last.Position)
			sameTicks(t, c, product, tickers)
		}
		for _, c := range latest {
			c.endsOn(product, last)
		}
	}
	for _, c := range all {
		c.undisturbed()
	}
	if n := fromExchange(); n != total {
		t.Errorf("%d prices stamped, %d ticker frames recorded", n, total)
	}
	for metric, want := range map[string]float64{
		"tickfan_ingest_coinbase_gaps_total": 0, "tickfan_ingest_coinbase_repeated_total": 0, "tickfan_ingest_coinbase_failures_total": 0,
		"tickfan_ingest_coinbase_unsubscribed_total": 1, "tickfan_ingest_refused_total": 0,
	} {
		if got := s.Ingest.Metric(metric); got != want {
			t.Errorf("%s is %v, want %v", metric, got, want)
		}
	}
	if st := x.Stats(); st.Connections != 1 || st.Late != 0 || st.Refused == 0 {
		t.Errorf("exchange: %+v", st)
	}
	t.Logf("%d ticker frames of %d products, %d other frames", total, len(want), len(recording.Frames)-total)
}

// lastOf waits for the n-th tick of a product.
func lastOf(t *testing.T, c *client, product string, n int) sent {
	t.Helper()
	natstest.Eventually(t, patience, func() bool { return len(c.history(product).ticks()) >= n }, "%s has %d ticks of %s", c.name, n, product)
	last := c.history(product).ticks()[n-1]
	return sent{last.Position, last.Price.String()}
}

func sameTicks(t *testing.T, c *client, product string, want []exchange.Ticker) {
	t.Helper()
	got := c.history(product).ticks()
	if len(got) != len(want) {
		t.Errorf("%s: %d ticks of %s, recorded were %d", c.name, len(got), product, len(want))
		return
	}
	for i, w := range want {
		g := exchange.Ticker{Price: got[i].Price.String(), Bid: got[i].Bid.String(), Ask: got[i].Ask.String(), Time: got[i].TS}
		if g != w || got[i].Seq != uint64(i+1) {
			t.Errorf("%s: tick %d of %s is %+v with seq %d, recorded was %+v", c.name, i, product, g, got[i].Seq, w)
			return
		}
	}
}
