package sim

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
)

const (
	marketSymbols = 2000
	clients       = 10_000 // of a bucket
	eachClient    = 5      // symbols
	zipf          = 1.1    // exponent of popularity: the first symbol is wanted by half of the clients
)

// market is symbols and how popular they are.
type market struct {
	symbols []subject.Symbol
	share   []float64 // of all wishes; they sum up to 1
	sum     []float64 // of the shares up to each
}

func newMarket() *market {
	m := &market{}
	total := 0.0
	for i := range marketSymbols {
		m.symbols = append(m.symbols, subject.Symbol(fmt.Sprintf("SIM%04d-USD", i)))
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

// wanted is what a bucket's clients want, in parts: each symbol that at least one of them does.
func (m *market) wanted(dice *rand.Rand) map[int]control.Set {
	parts := map[int]control.Set{}
	for i, s := range m.symbols {
		if dice.Float64() < math.Pow(1-m.share[i], clients*eachClient) {
			continue
		}
		p := subject.Part(s)
		if parts[p] == nil {
			parts[p] = control.Set{}
		}
		parts[p][s] = control.Latest
	}
	return parts
}

// draw is a symbol that ticks: the popular ones tick more often.
func (m *market) draw(dice *rand.Rand) subject.Symbol {
	x := dice.Float64()
	lo, hi := 0, len(m.sum)-1
	for lo < hi {
		if mid := (lo + hi) / 2; m.sum[mid] < x {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return m.symbols[lo]
}
