package e2e

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tickfan/tickfan/libs/natstest"
	tickfan "github.com/tickfan/tickfan/libs/sdk/go"
	"github.com/tickfan/tickfan/proto/code"
)

const price = `{"price":"64123.51"}`

// bad is what ingest must refuse: the code, and what its message must name.
type bad struct {
	subject, payload string
	code             code.Code
	says             string
}

func badPrices(largest int64) map[string]bad {
	const btc = "ingest.BTC-USD"
	tomorrow := time.Now().Add(24 * time.Hour).UnixMicro()
	return map[string]bad{
		"not a number":     {btc, `{"price":"abc"}`, code.BadPrice, `"abc"`},
		"negative":         {btc, `{"price":"-1"}`, code.BadPrice, `"-1"`},
		"negative, bare":   {btc, `-1`, code.BadPrice, `"-1"`},
		"zero":             {btc, `{"price":"0"}`, code.BadPrice, `above 0`},
		"exponent":         {btc, `{"price":"1e400"}`, code.BadPrice, `"1e400"`},
		"30 decimals":      {btc, `{"price":"1.` + strings.Repeat("1", 30) + `"}`, code.BadPrice, `more than 18 digits, or more than 12`},
		"no price":         {btc, `{"bid":"1"}`, code.BadPrice, `price is missing`},
		"bad bid":          {btc, `{"price":"1","bid":"x"}`, code.BadField, `bid`},
		"empty":            {btc, ``, code.BadMessage, `empty`},
		"not JSON":         {btc, `{"price":`, code.BadMessage, `not JSON`},
		"a word":           {btc, `abc`, code.BadMessage, `abc`},
		"broken map":       {btc, "\x81\xa5price", code.BadMessage, `MessagePack`},
		"junk":             {btc, string(bytes.Repeat([]byte{0xc1}, int(largest))), code.TooLarge, fmt.Sprint(largest)},
		"long JSON":        {btc, `{"price":"1","note":"` + strings.Repeat("x", 8<<10) + `"}`, code.TooLarge, `at most`},
		"lower case":       {"ingest.btc-usd", price, code.BadSymbol, `"btc-usd"`},
		"over-long symbol": {"ingest." + strings.Repeat("Z", 33), price, code.BadSymbol, `1 to 32 of A-Z 0-9 - _`},
		"two tokens":       {"ingest.BTC.USD", price, code.BadSymbol, `"BTC.USD"`},
		"tomorrow":         {btc, fmt.Sprintf(`{"price":"1","ts":%d}`, tomorrow), code.BadTime, fmt.Sprint(tomorrow)},
		"time as text":     {btc, `{"price":"1","ts":"2026-01-01T00:00:00Z"}`, code.BadTime, `microseconds`},
	}
}

// TestPublish: a price that a plain NATS client publishes is answered and reaches clients of both edges at once; a bad
// one is answered with a code, counted, and disturbs nothing.
func TestPublish(t *testing.T) {
	t.Parallel()
	s := start(t)
	nc := s.Connect()
	const symbol = "BTC-USD"
	clients := []*client{
		dial(t, "every at a", tickfan.JSON, s.Edges[0]),
		dial(t, "latest at b", tickfan.MessagePack, s.Edges[1]),
	}
	for i, options := range [][]tickfan.SubscribeOption{{tickfan.Every()}, nil} {
		if noPrice := clients[i].subscribe([]string{symbol}, options...); len(noPrice) != 1 {
			t.Errorf("%s: no price: %v", clients[i].name, noPrice)
		}
	}
	arrives := func(payload string, want sent) {
		t.Helper()
		for _, c := range clients {
			c.reaches(symbol, want.Position)
			ticks := c.history(symbol).ticks()
			if last := ticks[len(ticks)-1]; last.Position != want.Position || last.Price.String() != want.price {
				t.Errorf("%s: %s arrives as %v %s, want %v %s", c.name, payload, last.Position, last.Price, want.Position, want.price)
			}
		}
	}

	a, err := request(nc, "ingest."+symbol, []byte(price))
	if err != nil || !a.OK || a.Seq != 1 {
		t.Fatalf("%s is answered %+v, %v", price, a, err)
	}
	at := tickfan.Position{Epoch: a.Epoch, Seq: 1}
	arrives(price, sent{at, "64123.51"})
	for payload, want := range map[string]string{
		"64123.520":                        "64123.520",
		`{"price":64123.53,"volume":"7"}`:  "64123.53",
		`{"price":"1","ts":1}`:             "1",
		"\x81\xa5price\xa812345.67":        "12345.67",
		`{"price":"5","unknown":{"a":[]}}`: "5",
	} {
		if err := nc.Publish("ingest."+symbol, []byte(payload)); err != nil { // nobody waits for an answer
			t.Fatal(err)
		}
		at.Seq++
		arrives(payload, sent{at, want})
	}

	before := map[code.Code]float64{}
	refused := func(c code.Code) float64 {
		return s.Ingest.Metric("tickfan_ingest_refused_total", fmt.Sprintf("code=%q", c))
	}
	bads := badPrices(nc.MaxPayload())
	for name, b := range bads {
		a, err := request(nc, b.subject, []byte(b.payload))
		if err != nil || a.OK || a.Error == nil || a.Error.Code != b.code || !strings.Contains(a.Error.Message, b.says) {
			t.Errorf("%s: answered %+v, %v, want %s that names %s", name, a, err, b.code, b.says)
		}
		if a.Error != nil && len(a.Error.Message) > 300 {
			t.Errorf("%s: a message of %d bytes", name, len(a.Error.Message))
		}
		before[b.code]++
	}
	for c, n := range before {
		natstest.Eventually(t, patience, func() bool { return refused(c) == n }, "%v refusals counted as %s", n, c)
	}
	for c := range before { // one line of each code, however many were refused
		if !strings.Contains(s.Ingest.Log(), "code="+string(c)) {
			t.Errorf("log does not name %s", c)
		}
	}

	// Nothing else is disturbed: the next price follows the last good one, on the same connections.
	at.Seq++
	a, err = request(nc, "ingest."+symbol, []byte(`{"price":"64124","bid":"64123.99","ask":"64124.01"}`))
	if err != nil || !a.OK || a.Seq != at.Seq || a.Epoch != at.Epoch {
		t.Errorf("the next price is answered %+v, %v, want %v", a, err, at)
	}
	arrives("the next price", sent{at, "64124"})
	for _, c := range clients {
		c.undisturbed()
	}
	if got := s.Ingest.Metric("tickfan_ingest_ticks_total"); got != float64(at.Seq) {
		t.Errorf("%v ticks counted, want %d", got, at.Seq)
	}
	for _, p := range s.Services() {
		if !p.Ready() {
			t.Errorf("%s is not ready", p.Name())
		}
	}
}
