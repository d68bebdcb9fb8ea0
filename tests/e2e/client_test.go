package e2e

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/tickfan/tickfan/libs/natstest"
	tickfan "github.com/tickfan/tickfan/libs/sdk/go"
	"github.com/tickfan/tickfan/tests/stack"
)

// client is an SDK client that keeps all that it is told. A price that goes backwards fails the test, and so does the
// client's end before the test's.
type client struct {
	*tickfan.Client
	t    *testing.T
	name string

	mu      sync.Mutex
	symbols map[string]history
	last    map[string]tickfan.Position
	urls    []string // of the connections, in order
	lost    []tickfan.Disconnected
	stale   bool
}

// history is the Ticks and Gaps of one symbol, in order.
type history []tickfan.Event

// dial connects to the first of the edges, and to another when that is gone.
func dial(t *testing.T, name string, e tickfan.Encoding, edges ...*stack.Service) *client {
	t.Helper()
	urls := make([]string, len(edges))
	for i, edge := range edges {
		urls[i] = edge.URL()
	}
	return dialURL(t, name, e, strings.Join(urls, ","))
}

func dialURL(t *testing.T, name string, e tickfan.Encoding, urls string) *client {
	t.Helper()
	return dialWith(t, name, tickfan.Options{Encoding: e}, urls)
}

func dialWith(t *testing.T, name string, o tickfan.Options, urls string) *client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := tickfan.Dial(ctx, urls, o)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	c := &client{Client: conn, t: t, name: name, symbols: map[string]history{}, last: map[string]tickfan.Position{}}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.run()
	}()
	t.Cleanup(func() {
		_ = conn.Close() // always nil
		<-ended
	})
	return c
}

func (c *client) run() {
	for event, err := range c.Events(context.Background()) {
		if err != nil {
			if !errors.Is(err, tickfan.ErrClosed) {
				c.t.Errorf("%s ended: %v", c.name, err)
			}
			return
		}
		c.take(event)
	}
}

func (c *client) take(event tickfan.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch e := event.(type) {
	case tickfan.Tick:
		if !e.After(c.last[e.Symbol]) {
			c.t.Errorf("%s: %s goes from %v to %v", c.name, e.Symbol, c.last[e.Symbol], e.Position)
		}
		c.last[e.Symbol] = e.Position
		c.symbols[e.Symbol] = append(c.symbols[e.Symbol], e)
	case tickfan.Gap:
		c.symbols[e.Symbol] = append(c.symbols[e.Symbol], e)
	case tickfan.Connected:
		c.urls = append(c.urls, e.URL)
	case tickfan.Disconnected:
		c.lost = append(c.lost, e)
	case tickfan.Stale: // a busy machine may hold ingest's beat up
		c.stale = true
	case tickfan.Fresh:
		c.stale = false
	default:
		c.t.Errorf("%s: %T %v", c.name, e, e)
	}
}

// subscribe subscribes and gives the symbols that have no price yet.
func (c *client) subscribe(symbols []string, options ...tickfan.SubscribeOption) (noPrice []string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	ack, err := c.Subscribe(ctx, symbols, options...)
	if err != nil {
		c.t.Fatalf("%s: subscribe: %v", c.name, err)
	}
	return ack.NoPrice
}

// history of a symbol so far.
func (c *client) history(symbol string) history {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.symbols[symbol]
	return h[:len(h):len(h)] // what is appended later is not seen
}

// position of a symbol's last tick.
func (c *client) position(symbol string) tickfan.Position {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last[symbol]
}

// firstLoss is why the first connection ended.
func (c *client) firstLoss() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost[0].Err
}

// connection is how many connections there were and where the last one leads to.
func (c *client) connection() (n int, url string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.urls), c.urls[len(c.urls)-1]
}

func (c *client) isStale() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stale
}

// undisturbed fails the test if the client lost its connection or was told of a gap.
func (c *client) undisturbed() {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.lost) > 0 {
		c.t.Errorf("%s lost its connection: %v", c.name, c.lost[0].Err)
	}
	for symbol, h := range c.symbols {
		if g := h.gaps(); len(g) > 0 {
			c.t.Errorf("%s: %s has gaps: %+v", c.name, symbol, g)
		}
	}
}

// reaches waits until the client has a tick, or one after it.
func (c *client) reaches(symbol string, p tickfan.Position) {
	c.t.Helper()
	natstest.Eventually(c.t, patience, func() bool { return !p.After(c.position(symbol)) }, "%s has %s %v", c.name, symbol, p)
}

// endsOn waits until the client has a price that is known to be the newest.
func (c *client) endsOn(symbol string, s sent) {
	c.t.Helper()
	c.reaches(symbol, s.Position)
	h := c.history(symbol).ticks()
	if last := h[len(h)-1]; last.Position != s.Position || last.Price.String() != s.price {
		c.t.Errorf("%s ends on %s %v %s, newest is %v %s", c.name, symbol, last.Position, last.Price, s.Position, s.price)
	}
}

func (h history) ticks() (all []tickfan.Tick) {
	for _, e := range h {
		if t, ok := e.(tickfan.Tick); ok {
			all = append(all, t)
		}
	}
	return all
}

func (h history) gaps() (all []tickfan.Gap) {
	for _, e := range h {
		if g, ok := e.(tickfan.Gap); ok {
			all = append(all, g)
		}
	}
	return all
}

// told tells whether a position was said to be missing.
func (h history) told(p tickfan.Position) bool {
	for _, g := range h.gaps() {
		if g.Epoch == p.Epoch && g.From <= p.Seq && (g.To == 0 || p.Seq <= g.To) {
			return true
		}
	}
	return false
}

// complete fails the test unless each price published, from the client's first on, was received as it was or told as
// missing, and gives how many were received.
func (c *client) complete(symbol string, published []sent) (received int) {
	c.t.Helper()
	h := c.history(symbol)
	prices := map[tickfan.Position]string{}
	ticks := h.ticks()
	for _, t := range ticks {
		prices[t.Position] = t.Price.String()
	}
	for _, s := range published {
		price, ok := prices[s.Position]
		switch {
		case len(ticks) > 0 && ticks[0].After(s.Position): // before it subscribed
		case ok && price == s.price:
			received++
		case ok:
			c.t.Errorf("%s: %s %v is %s, published was %s", c.name, symbol, s.Position, price, s.price)
		case !h.told(s.Position):
			c.t.Errorf("%s: %s %v is missing untold", c.name, symbol, s.Position)
		}
	}
	// What was published without an answer counts, too.
	for i := 1; i < len(ticks); i++ {
		from := tickfan.Position{Epoch: ticks[i].Epoch, Seq: 1}
		if prev := ticks[i-1].Position; prev.Epoch == from.Epoch {
			from.Seq = prev.Seq + 1
		}
		for ; from.Seq < ticks[i].Seq; from.Seq++ {
			if !h.told(from) {
				c.t.Errorf("%s: %s %v is missing untold", c.name, symbol, from)
			}
		}
	}
	return received
}
