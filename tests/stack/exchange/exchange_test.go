package exchange

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lxzan/gws"
	"go.uber.org/goleak"

	"github.com/tickfan/tickfan/libs/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

const recorded = `{"ts":1000,"dir":"connect","data":"ws://exchange.example"}
{"ts":1000,"dir":"recv","data":"{\"type\":\"subscriptions\",\"channels\":[]}"}
{"ts":1000,"dir":"recv","data":"{\"type\":\"ticker\",\"sequence\":10,\"product_id\":\"AAA-USD\",\"price\":\"1.50\",\"best_bid\":\"1.49\",\"best_ask\":\"1.51\",\"time\":\"2025-11-22T00:00:00.000001Z\",\"trade_id\":1}"}
{"ts":1000,"dir":"recv","data":"{\"type\":\"match\",\"sequence\":10,\"product_id\":\"AAA-USD\",\"price\":\"1.50\",\"time\":\"2025-11-22T00:00:00.000001Z\",\"trade_id\":1}"}
{"ts":2000,"dir":"recv","data":"{\"type\":\"ticker\",\"sequence\":11,\"product_id\":\"BBB-USD\",\"price\":\"2\",\"time\":\"2025-11-22T00:00:00.000002Z\",\"trade_id\":5}"}
{"ts":3000,"dir":"recv","data":"{\"type\":\"ticker\",\"sequence\":12,\"product_id\":\"AAA-USD\",\"price\":\"1.51\",\"time\":\"2025-11-22T00:00:00.000003Z\",\"trade_id\":2}"}
{"ts":3000,"dir":"recv","data":"{\"type\":\"match\",\"sequence\":12,\"product_id\":\"AAA-USD\",\"price\":\"1.51\",\"time\":\"2025-11-22T00:00:00.000003Z\",\"trade_id\":2}"}
{"ts":4000,"dir":"recv","data":"{\"type\":\"ticker\",\"sequence\":13,\"product_id\":\"BBB-USD\",\"price\":\"2.1\",\"time\":\"2025-11-22T00:00:00.000004Z\",\"trade_id\":6}"}
`

// frame is what the exchange said.
type frame struct {
	header
	LastTradeID uint64 `json:"last_trade_id"`
	Reason      string `json:"reason"`
	Channels    []struct {
		Name     string   `json:"name"`
		Products []string `json:"product_ids"`
	} `json:"channels"`
	text string
}

// listener is a client.
type listener struct {
	gws.BuiltinEventHandler
	t      *testing.T
	ws     *gws.Conn
	frames chan frame
	closed chan struct{}
}

func (l *listener) OnClose(*gws.Conn, error) { close(l.closed) }
func (l *listener) OnMessage(_ *gws.Conn, m *gws.Message) {
	defer m.Close()
	f := frame{text: string(m.Bytes())}
	if err := json.Unmarshal(m.Bytes(), &f); err != nil {
		l.t.Errorf("frame %s: %v", m.Bytes(), err)
	}
	l.frames <- f
}

func listen(t *testing.T, x *Exchange) *listener {
	t.Helper()
	l := &listener{t: t, frames: make(chan frame, 100), closed: make(chan struct{})}
	ws, _, err := gws.NewClient(l, &gws.ClientOption{Addr: x.URL()})
	if err != nil {
		t.Fatal(err)
	}
	l.ws = ws
	go ws.ReadLoop()
	t.Cleanup(func() {
		_ = ws.NetConn().Close()
		<-l.closed
	})
	return l
}

func (l *listener) say(text string) {
	l.t.Helper()
	if err := l.ws.WriteString(text); err != nil {
		l.t.Fatal(err)
	}
}

// next is the next frame that is no heartbeat.
func (l *listener) next() frame {
	l.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case f := <-l.frames:
			if f.Type != "heartbeat" {
				return f
			}
		case <-deadline:
			l.t.Fatal("the exchange says nothing")
		}
	}
}

func start(t *testing.T) *Exchange {
	t.Helper()
	rec, err := Read(strings.NewReader(recorded))
	if err != nil {
		t.Fatal(err)
	}
	return Start(t, rec)
}

func TestAckCurrentThenTheRest(t *testing.T) {
	t.Parallel()
	x := start(t)
	l := listen(t, x)
	l.say(`{"type":"subscribe","product_ids":["AAA-USD"],"channels":["ticker"]}`)
	if f := l.next(); f.Type != "subscriptions" || !strings.Contains(f.text, `"account_ids":null`) {
		t.Fatalf("instead of an ack: %s", f.text)
	}
	if f := l.next(); f.Price != "1.50" {
		t.Fatalf("current: %s", f.text)
	}
	l.say(`{"type":"subscribe","product_ids":["BBB-USD"],"channels":[{"name":"matches","product_ids":["AAA-USD"]}]}`)
	ack := l.next()
	got := map[string][]string{}
	for _, c := range ack.Channels {
		slices.Sort(c.Products)
		got[c.Name] = c.Products
	}
	if !slices.Equal(got["ticker"], []string{"AAA-USD"}) || !slices.Equal(got["matches"], []string{"AAA-USD", "BBB-USD"}) {
		t.Fatalf("not the full set: %s", ack.text)
	}
	if f := l.next(); f.Type != "last_match" || f.Product != "AAA-USD" {
		t.Fatalf("current match: %s", f.text)
	}
	if err := x.Play(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ticker 2", "match 2"} {
		if f := l.next(); f.Product != "AAA-USD" || f.Type != strings.Fields(want)[0] || f.TradeID != 2 {
			t.Fatalf("instead of %s: %s", want, f.text)
		}
	}
	l.say(`{"type":"unsubscribe","channels":["matches"]}`)
	if f := l.next(); strings.Contains(f.text, "matches") || !strings.Contains(f.text, "ticker") {
		t.Fatalf("ack of unsubscribe: %s", f.text)
	}
	late := listen(t, x)
	late.say(`{"type":"subscribe","product_ids":["BBB-USD"],"channels":["ticker"]}`)
	late.next()
	if f := late.next(); f.TradeID != 6 {
		t.Errorf("current after the end: %s", f.text)
	}
}

func TestFaultsAreAnsweredAndIgnored(t *testing.T) {
	t.Parallel()
	x := start(t)
	l := listen(t, x)
	for text, reason := range map[string]string{
		`{"type":"subscribe","product_ids":["AAA-USD","NOPE-USD"],"channels":["ticker"]}`: " is not a valid product",
		`{"type":"subscribe","product_ids":["AAA-USD"]}`:                                  "No channels provided",
		`{"type":"subscribe","channels":["heartbeat"]}`:                                   "You need to specify at least one product ID for channel heartbeat",
		`{"type":"subscribe","product_ids":["AAA-USD"],"channels":["ticker","level2"]}`:   "level2, level3, and full channels now require authentication. https://docs.cloud.coinbase.com/exchange/docs/websocket-auth",
	} {
		l.say(text)
		if f := l.next(); f.Type != "error" || f.Reason != reason {
			t.Errorf("%s is answered with %s", text, f.text)
		}
	}
	l.say(`{"type":"unsubscribe","channels":["matches"]}`)
	if f := l.next(); len(f.Channels) != 0 {
		t.Errorf("a refused subscribe left %s", f.text)
	}
	if s := x.Stats(); s.Refused != 4 || s.Subscribed != 0 {
		t.Errorf("%+v", s)
	}
}

func TestHeartbeatsOfItsOwn(t *testing.T) {
	t.Parallel()
	l := listen(t, start(t))
	l.say(`{"type":"subscribe","product_ids":["BBB-USD"],"channels":["heartbeat"]}`)
	l.next()
	var last time.Time
	for range 2 {
		select {
		case f := <-l.frames:
			if f.Type != "heartbeat" || f.Product != "BBB-USD" || f.LastTradeID != 5 || f.Sequence != 11 {
				t.Fatalf("instead of a heartbeat: %s", f.text)
			}
			if !f.Time.Equal(f.Time.Truncate(time.Second)) || !f.Time.After(last) || !strings.Contains(f.text, ".000000Z") {
				t.Errorf("time of %s", f.text)
			}
			last = f.Time
		case <-time.After(patience):
			t.Fatal("no heartbeat")
		}
	}
}

func TestWhoDoesNotSubscribeIsDisconnected(t *testing.T) {
	t.Parallel()
	x := start(t)
	l, quick := listen(t, x), listen(t, x)
	quick.say(`{"type":"subscribe","product_ids":["BBB-USD"],"channels":["ticker"]}`)
	l.say(`{"type":"subscribe","channels":["ticker"]}`) // refused, so it is none
	select {
	case <-l.closed:
	case <-time.After(patience):
		t.Fatal("still connected")
	}
	natstest.Eventually(t, patience, func() bool { return x.Stats().Late == 1 }, "one client is counted as late")
	select {
	case <-quick.closed:
		t.Error("who subscribed is disconnected, too")
	default:
	}
}
