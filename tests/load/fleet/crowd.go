package fleet

import (
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tickfan/tickfan/tests/load/oracle"
)

const (
	longestLatency = int64(time.Hour / time.Microsecond)
	largestPayload = 1 << 16

	mostExamples = 8 // of a crowd and worker
)

func newLatency() *hdrhistogram.Histogram { return hdrhistogram.New(1, longestLatency, 3) }
func newSizes() *hdrhistogram.Histogram   { return hdrhistogram.New(1, largestPayload, 3) }

// crowd is a worker's part of a crowd.
type crowd struct {
	plan       Plan
	mode       oracle.Mode
	names      map[string]int // of Plan.Names
	symbols    int
	handshakes map[string][]byte // by target
	sockets    []*socket
	next       int // the socket that Reconnect takes next

	counts oracle.Counts // since the crowd was connected
	before oracle.Counts // when the window began
	window Traffic
	began  int64 // of the window, microseconds since 1970; only ticks published after it count for latency

	open       int
	closed     int // in the window
	closeCodes map[int]int
	latency    *hdrhistogram.Histogram
	sizes      []int64 // ticks by payload size; a histogram's own record would cost as much as scanning the tick
	examples   []string
}

func newCrowd(p Plan) (*crowd, error) {
	c := &crowd{plan: p, symbols: p.Symbols, handshakes: map[string][]byte{}, latency: newLatency(), sizes: make([]int64, largestPayload)}
	if !p.Dialect.Known() {
		return nil, fmt.Errorf("dialect %q is not known", p.Dialect)
	}
	switch p.Mode {
	case "", "latest":
	case "every":
		c.mode = oracle.Every
	default:
		return nil, fmt.Errorf("mode %q: latest or every", p.Mode)
	}
	if p.Names != nil {
		c.symbols = len(p.Names)
		c.names = map[string]int{}
		for i, n := range p.Names {
			c.names[n] = i
		}
	}
	if p.Each < 1 || p.Each > c.symbols {
		return nil, fmt.Errorf("each socket has %d of %d symbols", p.Each, c.symbols)
	}
	for _, t := range p.Targets {
		c.handshakes[t] = handshake(p.Dialect, t, p.Path)
	}
	c.openWindow(0)
	return c, nil
}

// openWindow sets what is counted of the window to zero. The examples stay: they explain the final verdict.
func (c *crowd) openWindow(now int64) {
	c.began, c.before, c.window, c.closed, c.closeCodes = now, c.counts, Traffic{}, 0, map[int]int{}
	c.latency.Reset()
	clear(c.sizes)
}

func (c *crowd) example(format string, args ...any) {
	if len(c.examples) < mostExamples {
		c.examples = append(c.examples, fmt.Sprintf(format, args...))
	}
}

// symbol is the name of the symbol with this index.
func (c *crowd) symbol(i int) string {
	if c.plan.Names != nil {
		return c.plan.Names[i]
	}
	return Symbol(i)
}

// index is that of a symbol; -1: none of the run.
func (c *crowd) index(symbol []byte) int {
	if c.names == nil {
		if i := symbolIndex(symbol); i < c.symbols {
			return i
		}
		return -1
	}
	if i, ok := c.names[string(symbol)]; ok {
		return i
	}
	return -1
}

// part is the crowd's report.
func (c *crowd) part() (crowdPart, error) {
	sizes := newSizes()
	for size, n := range c.sizes {
		if n > 0 {
			if err := sizes.RecordValues(int64(size), n); err != nil {
				return crowdPart{}, fmt.Errorf("record size: %w", err)
			}
		}
	}
	p := crowdPart{Open: c.open, Closed: c.closed, CloseCodes: c.closeCodes, Traffic: c.window,
		Counts: c.counts.Minus(c.before), Examples: c.examples}
	var err error
	if p.Latency, err = encode(c.latency); err != nil {
		return p, err
	}
	p.Sizes, err = encode(sizes)
	return p, err
}

// check holds each socket's last values against the finals.
func (c *crowd) check(finals []uint64) oracle.Verdict {
	v := oracle.Verdict{Sockets: len(c.sockets), Faults: c.counts, Examples: append([]string(nil), c.examples...)}
	for _, s := range c.sockets {
		switch wrong := s.behind(finals); {
		case s.state == stateClosed:
			v.Closed++
		case wrong < 0:
			v.Right++
			continue
		default:
			v.Behind++
			if len(v.Examples) < 2*mostExamples {
				symbol := (s.base + wrong) % c.symbols
				v.Examples = append(v.Examples, fmt.Sprintf("socket %d: %s ends on %d, the newest is %d",
					s.number, c.symbol(symbol), s.tracks[wrong].Last(), finals[symbol]))
			}
		}
	}
	return v
}

func encode(h *hdrhistogram.Histogram) (string, error) {
	b, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		return "", fmt.Errorf("encode histogram: %w", err)
	}
	return string(b), nil
}
