package sim

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

const (
	recording  = "binance_spot_btc_eth_l1_trades_20240808.jsonl.gz"
	marketRate = 5000.0 // ticks a second
	window     = 2 * time.Millisecond
)

// rhythm is when ticks come: the times of a recording of an exchange, sped up to the market's rate. So its bursts are as
// high above its mean as they were.
type rhythm struct {
	source string
	times  []time.Duration // since the first
}

// readRhythm takes the recording in the folder that FEEDS names; without one it makes bursts up.
func readRhythm(feeds string) (*rhythm, error) {
	if feeds == "" {
		return madeUp(), nil
	}
	f, err := os.Open(filepath.Join(feeds, "frames", recording))
	if err != nil {
		return nil, fmt.Errorf("read recording: %w", err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("read recording: %w", err)
	}
	r := &rhythm{source: fmt.Sprintf("Binance's book ticker and trades of BTCUSDT and ETHUSDT (%s)", recording)}
	first := int64(0)
	for lines := bufio.NewScanner(z); ; {
		if !lines.Scan() {
			if err := lines.Err(); err != nil {
				return nil, fmt.Errorf("read recording: %w", err)
			}
			return r.at(marketRate), nil
		}
		var line struct {
			TS  int64  `json:"ts"` // ns
			Dir string `json:"dir"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return nil, fmt.Errorf("read recording: %w", err)
		}
		if line.Dir != "recv" {
			continue
		}
		if first == 0 {
			first = line.TS
		}
		r.times = append(r.times, time.Duration(line.TS-first))
	}
}

// madeUp is bursts at random, of 12 ticks in the mean and 50 us apart.
func madeUp() *rhythm {
	dice := rand.New(rand.NewPCG(1, 2))
	r := &rhythm{source: "bursts that were made up (FEEDS names no recording)"}
	at := 0.0
	for len(r.times) < 100_000 {
		at += dice.ExpFloat64() * 12 / marketRate
		x := at
		for n := 1 + int(12*dice.ExpFloat64()); n > 0; n-- {
			r.times = append(r.times, time.Duration(x*float64(time.Second)))
			x += dice.ExpFloat64() * 50e-6
		}
		at = max(at, x)
	}
	return r.at(marketRate)
}

// at is the rhythm with another mean rate: faster or slower as a whole.
func (r *rhythm) at(rate float64) *rhythm {
	last := r.times[len(r.times)-1].Seconds()
	f := float64(len(r.times)) / last / rate
	out := &rhythm{source: r.source, times: make([]time.Duration, len(r.times))}
	for i, t := range r.times {
		out.times[i] = time.Duration(float64(t) * f)
	}
	return out
}

const (
	slice    = 20 * time.Millisecond // of a rhythm, far longer than a flush window
	attempts = 300
)

// sample is a part of the rhythm that lasts so long: slices from all over it, one behind the other. Bursts make samples
// differ, so of many it is the one whose rate and ticks a batch come next to those of the whole.
func (r *rhythm) sample(lasts time.Duration) []time.Duration {
	total := r.times[len(r.times)-1]
	if lasts >= total {
		return r.times
	}
	n := max(1, int(lasts/slice))
	each := lasts / time.Duration(n)
	rate, perBatch := float64(len(r.times))/total.Seconds(), ticksABatch(r.times)
	var best []time.Duration
	least := math.Inf(1)
	for seed := range uint64(attempts) {
		dice := rand.New(rand.NewPCG(seed, 3))
		var times []time.Duration
		for i := range n {
			from := time.Duration((float64(i) + dice.Float64()) / float64(n) * float64(total-each))
			for k := r.from(from); k < len(r.times) && r.times[k] < from+each; k++ {
				times = append(times, r.times[k]-from+time.Duration(i)*each)
			}
		}
		if len(times) < 2 {
			continue
		}
		off := math.Abs(math.Log(float64(len(times))/lasts.Seconds()/rate)) + math.Abs(math.Log(ticksABatch(times)/perBatch))
		if off < least {
			best, least = times, off
		}
	}
	return best
}

// from is the first tick that is not before a time.
func (r *rhythm) from(t time.Duration) int {
	lo, hi := 0, len(r.times)
	for lo < hi {
		if mid := (lo + hi) / 2; r.times[mid] < t {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// ticksABatch is what a router puts into a batch to a bucket that wants all, and all of each symbol: a first tick leaves
// at once, the next batch not before the flush window is over.
func ticksABatch(times []time.Duration) float64 {
	batches := 0
	next := time.Duration(math.MinInt64)
	for i := 0; i < len(times); batches++ {
		leaves := max(times[i], next)
		for i < len(times) && times[i] <= leaves {
			i++
		}
		next = leaves + window
	}
	return float64(len(times)) / float64(batches)
}

func TestRhythm(t *testing.T) {
	if got := ticksABatch([]time.Duration{0, 1 * time.Millisecond, 2 * time.Millisecond, 3 * time.Millisecond, 9 * time.Millisecond}); got != 5.0/4 {
		t.Errorf("%v ticks a batch; batches leave at 0, 2, 4 and 9 ms", got)
	}
	r := madeUp()
	rate := func(times []time.Duration, lasts time.Duration) float64 { return float64(len(times)) / lasts.Seconds() }
	if got := rate(r.times, r.times[len(r.times)-1]); math.Abs(got-marketRate) > 1 {
		t.Errorf("%v ticks a second, want %v", got, marketRate)
	}
	if got := rate(r.at(500).times, r.at(500).times[len(r.times)-1]); math.Abs(got-500) > 1 {
		t.Errorf("%v ticks a second, want 500", got)
	}
	const lasts = 400 * time.Millisecond
	s := r.sample(lasts)
	if got := rate(s, lasts); math.Abs(got/marketRate-1) > 0.1 {
		t.Errorf("a sample has %.0f ticks a second, all have %.0f", got, marketRate)
	}
	if got, want := ticksABatch(s), ticksABatch(r.times); math.Abs(got/want-1) > 0.1 {
		t.Errorf("a sample has %.1f ticks a batch, all have %.1f", got, want)
	}
	for i := range s[1:] {
		if s[i+1] < s[i] || s[i+1] > lasts {
			t.Fatalf("tick %d at %s comes after one at %s", i+1, s[i+1], s[i])
		}
	}
}
