package tickfan_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	tickfan "github.com/tickfan/tickfan/libs/sdk/go"
	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

// history answers requests for ticks of epoch 7 from the seqs that it holds.
type history struct {
	first, last uint64
	lost        uint64 // one that it does not have
	asked       []string
}

func (h *history) ticks(r *http.Request) string {
	h.asked = append(h.asked, r.URL.RequestURI())
	number := func(name string) uint64 {
		n, _ := strconv.ParseUint(r.URL.Query().Get(name), 10, 64)
		return n
	}
	symbol := subject.Symbol(r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:])
	g := tick.Range{Symbol: symbol, Epoch: number("epoch"), From: number("from"), To: number("to")}
	if err := g.Check(); err != nil {
		return answered(400, `{"error":{"code":"bad_range","message":"x"}}`)
	}
	var list []string
	for seq := max(g.From, h.first); seq <= min(g.To, h.last) && g.Epoch == 7; seq++ {
		if seq == h.lost {
			continue
		}
		t := tick.Tick{Symbol: symbol, Position: tick.Position{Epoch: 7, Seq: seq}, Quote: tick.Quote{Price: tick.NewDecimal(seq, 1), TS: 1}}
		list = append(list, string(session.AppendTickJSON(nil, &t)))
	}
	if len(list) == 0 && g.To < h.first {
		return answered(410, `{"error":{"code":"gone","message":"x"}}`)
	}
	return answered(200, `{"ticks":[`+strings.Join(list, ",")+`]}`)
}

func answered(status int, body string) string {
	return fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Length: %d\r\n\r\n%s", status, http.StatusText(status), len(body), body)
}

func TestTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEdge()
		h := &history{first: 1500, last: 5000, lost: 4200}
		e.ticks = h.ticks
		c, _ := e.dial(t, tickfan.Options{})
		for _, x := range []struct {
			epoch, from, to uint64
			first, last     uint64
			n               int
			requests        int
			code            code.Code
		}{
			{7, 4000, 4001, 4000, 4001, 2, 1, ""},
			{7, 4199, 4201, 4199, 4201, 2, 1, ""},
			{7, 2001, 4000, 2001, 4000, 2000, 2, ""},
			{7, 2000, 4000, 2000, 4000, 2001, 3, ""},
			{7, 1, 4000, 1500, 4000, 2501, 3, ""},
			{7, 500, 2499, 1500, 2499, 1000, 2, ""}, // the second is gone
			{7, 4999, 6999, 4999, 5000, 2, 3, ""},
			{7, 6000, 6001, 0, 0, 0, 1, ""},
			{7, 1, 10, 0, 0, 0, 1, code.Gone},
			{7, 10, 9, 0, 0, 0, 0, code.BadRange},
			{7, 0, 9, 0, 0, 0, 0, code.BadRange},
			{0, 1, 9, 0, 0, 0, 1, code.BadRange},
		} {
			h.asked = nil
			got, err := c.Ticks(t.Context(), "BTC-USD", x.epoch, x.from, x.to)
			fault := (*code.Error)(nil)
			if (err != nil) != (x.code != "") || err != nil && (!errors.As(err, &fault) || fault.Code != x.code) {
				t.Errorf("%+v: %v", x, err)
			}
			if len(got) != x.n || x.n > 0 && (got[0].Seq != x.first || got[x.n-1].Seq != x.last) || len(h.asked) != x.requests {
				t.Errorf("%+v: %d ticks, asked %q", x, len(got), h.asked)
			}
			if !slices.IsSortedFunc(got, func(a, b tickfan.Tick) int { return int(a.Seq) - int(b.Seq) }) {
				t.Errorf("%+v: not in order", x)
			}
		}
		if _, err := c.Ticks(t.Context(), "btc/usd", 7, 1, 2); code.Of(err).Code != code.BadSymbol {
			t.Error(err)
		}
	})
}

// An edge that answers with what was not asked for is not believed.
func TestTicksRefusesNonsense(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEdge()
		c, _ := e.dial(t, tickfan.Options{Encoding: tickfan.JSON})
		for name, body := range map[string]string{
			"another symbol": `{"ticks":[{"symbol":"ETH-USD","epoch":7,"seq":1,"price":"1","ts":1}]}`,
			"another epoch":  `{"ticks":[{"symbol":"BTC-USD","epoch":8,"seq":1,"price":"1","ts":1}]}`,
			"beyond":         `{"ticks":[{"symbol":"BTC-USD","epoch":7,"seq":3,"price":"1","ts":1}]}`,
			"no order":       `{"ticks":[{"symbol":"BTC-USD","epoch":7,"seq":2,"price":"1","ts":1},{"symbol":"BTC-USD","epoch":7,"seq":1,"price":"1","ts":1}]}`,
			"no price":       `{"ticks":[{"symbol":"BTC-USD","epoch":7,"seq":1,"ts":1}]}`,
			"no JSON":        `<html>`,
		} {
			e.ticks = func(*http.Request) string { return answered(200, body) }
			if got, err := c.Ticks(t.Context(), "BTC-USD", 7, 1, 2); err == nil || len(got) > 0 {
				t.Errorf("%s: %v, %v", name, got, err)
			}
		}
		e.ticks = func(*http.Request) string { return answered(503, `{"error":{"code":"unavailable","message":"x"}}`) }
		fault := (*code.Error)(nil)
		if _, err := c.Ticks(t.Context(), "BTC-USD", 7, 1, 2); !errors.As(err, &fault) || fault.Code != code.Unavailable {
			t.Error(err)
		}
	})
}

func gapOf(symbol subject.Symbol, epoch, from, to uint64) session.Message {
	g := tick.Range{Symbol: symbol, Epoch: epoch, From: from, To: to}
	m := session.Message{Op: session.OpGap, Symbol: symbol, Epoch: epoch, From: from, To: to}
	if g.Check() == nil {
		m.URL = session.RangeURL(g)
	}
	return m
}

func TestFetchGaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEdge()
		h := &history{first: 5, last: 5000, lost: 15}
		e.ticks = h.ticks
		c, s := e.dial(t, tickfan.Options{FetchGaps: true})
		next[tickfan.Connected](t, c)
		subscribe(t, c, s, []string{"BTC-USD"}, tickfan.Every())
		s.tick("BTC-USD", 7, 1, "0.1")
		s.say(gapOf("BTC-USD", 7, 2, 7))
		s.tick("BTC-USD", 7, 8, "0.8")
		s.say(gapOf("BTC-USD", 7, 9, 15))
		s.tick("BTC-USD", 7, 16, "1.6")
		wantTick(t, c, "BTC-USD", 7, 1)
		wantGap(t, c, tickfan.Gap{Symbol: "BTC-USD", Epoch: 7, From: 2, To: 4})
		for seq := uint64(5); seq <= 14; seq++ {
			wantTick(t, c, "BTC-USD", 7, seq)
		}
		wantGap(t, c, tickfan.Gap{Symbol: "BTC-USD", Epoch: 7, From: 15, To: 15})
		wantTick(t, c, "BTC-USD", 7, 16)

		// Of a long one the end, of one without an end or a url nothing.
		h.asked = nil
		s.say(gapOf("BTC-USD", 7, 17, 4000))
		s.tick("BTC-USD", 7, 4001, "1")
		wantGap(t, c, tickfan.Gap{Symbol: "BTC-USD", Epoch: 7, From: 17, To: 3000})
		for seq := uint64(3001); seq <= 4001; seq++ {
			wantTick(t, c, "BTC-USD", 7, seq)
		}
		known := gapOf("BTC-USD", 7, 4002, 4002)
		known.URL = ""
		s.say(known)
		wantGap(t, c, tickfan.Gap{Symbol: "BTC-USD", Epoch: 7, From: 4002, To: 4002})
		s.say(session.Message{Op: session.OpGap, Symbol: "BTC-USD", Epoch: 7, From: 4003})
		wantGap(t, c, tickfan.Gap{Symbol: "BTC-USD", Epoch: 7, From: 4003})
		s.tick("BTC-USD", 8, 1, "1")
		wantTick(t, c, "BTC-USD", 8, 1)
		if len(h.asked) != 1 {
			t.Errorf("asked %q", h.asked)
		}
	})
}

// Closing does not wait for a fetch.
func TestCloseAmidAFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEdge()
		asked, never := make(chan struct{}), make(chan struct{})
		e.ticks = func(*http.Request) string { close(asked); <-never; return "" }
		c, s := e.dial(t, tickfan.Options{FetchGaps: true})
		next[tickfan.Connected](t, c)
		subscribe(t, c, s, []string{"BTC-USD"}, tickfan.Every())
		s.tick("BTC-USD", 7, 1, "0.1")
		s.say(gapOf("BTC-USD", 7, 2, 7))
		<-asked
		c.Close()
		close(never)
	})
}
