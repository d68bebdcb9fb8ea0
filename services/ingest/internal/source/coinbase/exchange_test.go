package coinbase

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/lxzan/gws"
)

// exchange is a fake of the exchange, as far as its documents and captures describe it: an ack names the full set in
// any order, after it comes one current ticker a product, a bad product loses the whole call.
type exchange struct {
	t   *testing.T
	url string

	mu      sync.Mutex
	invalid map[string]bool
	hangUp  bool              // after a refusal
	noBeats bool              // heartbeats are left out of the ack
	current map[string]string // ticker frame that follows the ack
	calls   [][]string        // products of each subscribe call
	conns   []*client
}

// client is one connection to it.
type client struct {
	*gws.Conn
	x          *exchange
	subscribed []string
	pongs      chan string
	closed     chan struct{}
}

func newExchange(t *testing.T) *exchange {
	t.Helper()
	x := &exchange{t: t, invalid: map[string]bool{}, current: map[string]string{}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &client{x: x, pongs: make(chan string, 8), closed: make(chan struct{})}
		ws, err := gws.NewUpgrader(c, nil).Upgrade(w, r)
		if err != nil {
			t.Errorf("upgrade: %v", err)
			return
		}
		c.Conn = ws
		x.mu.Lock()
		x.conns = append(x.conns, c)
		x.mu.Unlock()
		ws.ReadLoop()
		close(c.closed)
	}))
	t.Cleanup(srv.Close)
	x.url = "ws" + strings.TrimPrefix(srv.URL, "http")
	return x
}

// conn is connection n, from 0, or nil.
func (x *exchange) conn(n int) *client {
	x.mu.Lock()
	defer x.mu.Unlock()
	if n >= len(x.conns) {
		return nil
	}
	return x.conns[n]
}

func (x *exchange) connected() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.conns)
}

func (x *exchange) called() [][]string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.calls)
}

// with changes the exchange.
func (x *exchange) with(f func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	f()
}

func (c *client) send(frame string) {
	_ = c.WriteString(frame) // the feed may have gone
}

func (c *client) OnOpen(*gws.Conn)              {}
func (c *client) OnClose(*gws.Conn, error)      {}
func (c *client) OnPing(ws *gws.Conn, p []byte) { _ = ws.WritePong(p) }
func (c *client) OnPong(_ *gws.Conn, p []byte)  { c.pongs <- string(p) }
func (c *client) OnMessage(_ *gws.Conn, m *gws.Message) {
	defer m.Close()
	var r struct {
		Type       string   `json:"type"`
		ProductIDs []string `json:"product_ids"`
		Channels   []string `json:"channels"`
	}
	if err := json.Unmarshal(m.Bytes(), &r); err != nil || r.Type != "subscribe" {
		c.x.t.Errorf("the feed says %s", m.Bytes())
	}
	x := c.x
	x.mu.Lock()
	defer x.mu.Unlock()
	x.calls = append(x.calls, r.ProductIDs)
	for _, p := range r.ProductIDs {
		if x.invalid[p] {
			c.send(`{"type":"error","message":"Failed to subscribe","reason":" is not a valid product"}`)
			if x.hangUp {
				_ = c.WriteClose(1000, nil)
			}
			return
		}
	}
	c.subscribed = append(c.subscribed, r.ProductIDs...)
	ids := slices.Clone(c.subscribed)
	slices.Reverse(ids)
	set, _ := json.Marshal(ids)
	beats := fmt.Sprintf(`{"name":"heartbeat","product_ids":%s,"account_ids":null},`, set)
	if x.noBeats {
		beats = ""
	}
	c.send(fmt.Sprintf(`{"type":"subscriptions","channels":[%s{"name":"ticker","product_ids":%s,"account_ids":null}]}`, beats, set))
	for _, p := range r.ProductIDs {
		if f := x.current[p]; f != "" {
			c.send(f)
		}
	}
}

// ticker is a frame as the exchange sends it, shortened.
func ticker(product string, trade, sequence int, price string) string {
	return fmt.Sprintf(`{"type":"ticker","sequence":%d,"product_id":%q,"price":%q,"open_24h":"63798.2","volume_24h":"8737.20775975",`+
		`"low_24h":"62583","high_24h":"64199.93","volume_30d":"228029.99880564","best_bid":"62975.90","best_bid_size":"0.00001797",`+
		`"best_ask":"62975.91","best_ask_size":"0.01479766","side":"buy","time":"2026-07-08T01:56:01.617651Z","trade_id":%d,"last_size":"0.06180656"}`,
		sequence, product, price, trade)
}

func heartbeat(product string, trade int) string {
	return fmt.Sprintf(`{"type":"heartbeat","last_trade_id":%d,"product_id":%q,"sequence":100334272014,"time":"2026-07-08T01:56:02.000000Z"}`, trade, product)
}
