package tickfan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

const (
	// historyTime is how long one request for a range may take: longer than an edge takes to say that it cannot.
	historyTime = 15 * time.Second
	// maxHistory is more bytes than an answer of 1,000 ticks has.
	maxHistory = 1 << 20
)

// Ticks gets the ticks of a symbol from one seq to another of an epoch, both included, from an edge's history, over HTTP:
// what a Gap names, if its To is not 0. They come in order, and there may be fewer than asked for: the history does not
// go back for ever. It asks for 1,000 at a time, the latest first, and ends where the history does.
//
// An error may hold a *code.Error: bad_symbol, bad_range, gone (none of them is in the history any more), no_price,
// unavailable (try again). Ticks got before it are given, too.
func (c *Client) Ticks(ctx context.Context, symbol string, epoch, from, to uint64) ([]Tick, error) {
	s, err := subject.ParseSymbol(symbol)
	if err != nil {
		return nil, err
	}
	if to < from || from < 1 {
		return nil, code.Errorf(code.BadRange, "from %d to %d: from 1, and to must not be before from", from, to)
	}
	var pages [][]Tick // the latest first
	for {
		g := tick.Range{Symbol: s, Epoch: epoch, From: from, To: to}
		if g.Len() > tick.MaxRange {
			g.From = to - tick.MaxRange + 1
		}
		var page []Tick
		page, err = c.page(ctx, g)
		if len(page) > 0 {
			pages = append(pages, page)
		}
		first := g.From
		if len(page) > 0 {
			first = page[0].Seq
		}
		if err != nil || g.From == from || len(page) > 0 && first > g.From {
			break
		}
		to = g.From - 1
	}
	if fault := (*code.Error)(nil); len(pages) > 0 && errors.As(err, &fault) && fault.Code == code.Gone {
		err = nil // it ends there
	}
	slices.Reverse(pages)
	return slices.Concat(pages...), err
}

// page gets one range that an edge allows.
func (c *Client) page(ctx context.Context, g tick.Range) ([]Tick, error) {
	u := c.edge()
	ctx, cancel := context.WithTimeout(ctx, historyTime)
	defer cancel()
	connect := func(ctx context.Context, _, _ string) (net.Conn, error) { return c.options.connect(ctx, u) }
	transport := &http.Transport{DialContext: connect, DialTLSContext: connect, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, historyURL(u, g), nil)
	if err != nil {
		return nil, fmt.Errorf("get ticks: %w", err)
	}
	req.Header = c.options.header()
	req.Header.Del("Sec-WebSocket-Protocol")
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return nil, fmt.Errorf("get ticks: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("get ticks: %w", readRefusal(resp))
	}
	p, err := io.ReadAll(io.LimitReader(resp.Body, maxHistory))
	if err != nil {
		return nil, fmt.Errorf("get ticks: %w", err)
	}
	ticks, err := readHistory(p, g)
	if err != nil {
		return nil, fmt.Errorf("get ticks: %w", err)
	}
	return ticks, nil
}

// edge is the one that the client is connected to, or the one that it tries next.
func (c *Client) edge() *url.URL {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link != nil {
		return c.link.url
	}
	return c.urls[0]
}

// historyURL is beside the WebSocket's path, if that is the usual one behind whatever a gateway puts before it.
func historyURL(u *url.URL, g tick.Range) string {
	h := *u
	h.Scheme = "http" + strings.TrimPrefix(u.Scheme, "ws")
	prefix, _ := strings.CutSuffix(u.Path, session.PathWS)
	if prefix == u.Path {
		prefix = ""
	}
	path, query, _ := strings.Cut(session.RangeURL(g), "?")
	h.Path, h.RawQuery = prefix+path, query
	return h.String()
}

func readHistory(p []byte, g tick.Range) ([]Tick, error) {
	var body struct{ Ticks []session.Message }
	if err := json.Unmarshal(p, &body); err != nil {
		return nil, err
	}
	ticks := make([]Tick, 0, len(body.Ticks))
	at := Position{Epoch: g.Epoch, Seq: g.From - 1}
	for i := range body.Ticks {
		m := &body.Ticks[i]
		t := Tick{Symbol: string(m.Symbol), Position: Position{Epoch: m.Epoch, Seq: m.Seq}, Quote: m.Quote()}
		if err := checkTick(&t); err != nil {
			return nil, err
		}
		if m.Symbol != g.Symbol || !g.Holds(t.Position) || !t.After(at) {
			return nil, fmt.Errorf("tick %s %d/%d in an answer to %+v", t.Symbol, t.Epoch, t.Seq, g)
		}
		ticks, at = append(ticks, t), t.Position
	}
	return ticks, nil
}

// fill gets what a gap names, if an edge may have it, and hands it on as if it had come in order; what is still missing
// is found by the steps that are left. It holds the reader up, which is what keeps the order.
func (c *Client) fill(m *session.Message) {
	if !c.options.FetchGaps || m.To == 0 || m.URL == "" && m.To-m.From < tick.MaxRange {
		return
	}
	symbol, every := c.feed.stands(m.Symbol)
	if !every {
		return
	}
	from := m.From
	if m.To-m.From >= tick.MaxRange { // the reader is not held up for more
		from = m.To - tick.MaxRange + 1
	}
	ticks, _ := c.Ticks(c.ctx, symbol, m.Epoch, from, m.To) // what does not come is told as the gap that it is
	for i := range ticks {
		c.feed.tick([]byte(symbol), &ticks[i])
	}
}
