package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
	"testing"

	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
)

const (
	marketSymbols = 2000
	clients       = 10_000 // of a bucket
	eachClient    = 5      // symbols
	zipf          = 1.1    // exponent of popularity: the first symbol is wanted by more than half of the clients
)

// symbol is its place in the market, by popularity.
type symbol = uint16

// market is symbols and how popular they are.
type market struct {
	symbols []subject.Symbol
	parts   [subject.Parts][]symbol
	part    []int
	entries []string  // of a part in JSON
	digests []uint32  // that each adds to its part's
	share   []float64 // of all wishes; they sum up to 1
	sum     []float64 // of the shares up to each
}

func newMarket() *market {
	m := &market{}
	total := 0.0
	for i := range marketSymbols {
		s := subject.Symbol(fmt.Sprintf("SIM%04d-USD", i))
		p := subject.Part(s)
		m.symbols, m.part = append(m.symbols, s), append(m.part, p)
		m.parts[p] = append(m.parts[p], symbol(i))
		m.entries = append(m.entries, fmt.Sprintf("%q:%q", s, control.Latest))
		m.digests = append(m.digests, control.Set{s: control.Latest}.Digest())
		m.share = append(m.share, math.Pow(float64(i+1), -zipf))
		total += m.share[i]
	}
	sum := 0.0
	for i := range m.share {
		m.share[i] /= total
		sum += m.share[i]
		m.sum = append(m.sum, sum)
	}
	return m
}

// index reads a symbol's place from its name, without a look at a map: it is done for each item of each batch.
func (m *market) index(name []byte) (s symbol, ok bool) {
	if len(name) != len("SIM0000-USD") {
		return 0, false
	}
	n := 0
	for _, c := range name[3:7] {
		n = 10*n + int(c-'0')
	}
	if n < 0 || n >= marketSymbols {
		return 0, false
	}
	return symbol(n), true
}

// draw is a symbol by popularity: of what a client wants, or of what ticks.
func (m *market) draw(dice *rand.Rand) symbol {
	return symbol(min(sort.SearchFloat64s(m.sum, dice.Float64()), marketSymbols-1))
}

// wishes fills a client's symbols, each another.
func (m *market) wishes(dice *rand.Rand, of []symbol) {
	for i := range of {
		of[i] = m.other(dice, of[:i])
	}
}

// other is a symbol that is not among these.
func (m *market) other(dice *rand.Rand, these []symbol) symbol {
next:
	for {
		s := m.draw(dice)
		for _, had := range these {
			if s == had {
				continue next
			}
		}
		return s
	}
}

func TestMarket(t *testing.T) {
	m := newMarket()
	for i, s := range m.symbols {
		if got, ok := m.index([]byte(s)); !ok || int(got) != i {
			t.Fatalf("%s is %d, %v", s, got, ok)
		}
	}
	if _, ok := m.index([]byte("BTC-USD")); ok {
		t.Error("BTC-USD is in the market")
	}
	dice := rand.New(rand.NewPCG(1, 1))
	const drawn = 200_000
	first := 0
	for range drawn {
		if m.draw(dice) == 0 {
			first++
		}
	}
	if want := m.share[0] * drawn; math.Abs(float64(first)-want) > 0.05*want {
		t.Errorf("the first of %d draws is drawn %d times, want %.0f", drawn, first, want)
	}
	var of [eachClient]symbol
	for range 10_000 {
		m.wishes(dice, of[:])
		seen := map[symbol]bool{}
		for _, s := range of {
			seen[s] = true
		}
		if len(seen) != eachClient {
			t.Fatalf("a client wants %v", of)
		}
	}
}
