package exchange

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lxzan/gws"
)

const (
	// subscribeTime is how long a client may take to subscribe.
	subscribeTime = 5 * time.Second

	// writeTime is how long a client may take to read: the exchange disconnects slow ones.
	writeTime = 5 * time.Second
)

// Exchange is a running fake. Its methods may be called from any goroutine.
type Exchange struct {
	url       string
	recording *Recording
	wg        sync.WaitGroup

	mu      sync.Mutex
	clients map[*client]struct{}
	current map[string]map[string]Frame // by channel and product: what comes after an ack
	playing bool
	stats   Stats
}

// Stats is what has happened so far.
type Stats struct {
	Connections int
	Subscribed  int // subscribe calls accepted
	Refused     int // subscribe calls ignored for a fault
	Late        int // clients disconnected because they did not subscribe
}

// Start runs a fake on a free port until the test ends. Each product's first frame of a channel is what is current
// until Play; Play plays the rest.
func Start(t testing.TB, recording *Recording) *Exchange {
	t.Helper()
	x := &Exchange{recording: recording, clients: map[*client]struct{}{}, current: map[string]map[string]Frame{}}
	for _, f := range recording.Frames {
		x.note(f, false)
	}
	srv := httptest.NewServer(http.HandlerFunc(x.serve))
	x.url = "ws" + strings.TrimPrefix(srv.URL, "http")
	ctx, cancel := context.WithCancel(context.Background())
	x.wg.Go(func() { x.beat(ctx) })
	t.Cleanup(func() {
		srv.Close()
		x.disconnectAll()
		cancel()
		x.wg.Wait()
	})
	return x
}

// URL is its address: ws://host:port.
func (x *Exchange) URL() string { return x.url }

// Stats gives the figures.
func (x *Exchange) Stats() Stats {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.stats
}

// Play plays the recording, speed times as fast as it was, to whoever has subscribed, and returns at its end.
func (x *Exchange) Play(ctx context.Context, speed float64) error {
	x.mu.Lock()
	x.playing = true
	x.mu.Unlock()
	defer func() {
		x.mu.Lock()
		x.playing = false
		x.mu.Unlock()
	}()
	first := map[string]bool{}
	began := time.Now()
	for _, f := range x.recording.Frames {
		key := f.channel() + " " + f.Product
		if f.channel() != chHeartbeat && !first[key] {
			first[key] = true // it was current before
			continue
		}
		due := time.Until(began.Add(time.Duration(float64(f.At) / speed)))
		if due > 0 {
			t := time.NewTimer(due)
			select {
			case <-ctx.Done():
				t.Stop()
				return context.Cause(ctx)
			case <-t.C:
			}
		}
		x.mu.Lock()
		x.note(f, true)
		x.sendLocked(f.channel(), f.Product, f.Data)
		x.mu.Unlock()
	}
	return nil
}

// note keeps a frame as what is current of its product, if it is the first one or a later one counts.
func (x *Exchange) note(f Frame, later bool) {
	ch := f.channel()
	if ch == chHeartbeat {
		return
	}
	if x.current[ch] == nil {
		x.current[ch] = map[string]Frame{}
	}
	if _, known := x.current[ch][f.Product]; known && !later {
		return
	}
	if ch == chMatches {
		f.Data = []byte(strings.Replace(string(f.Data), `"type":"match"`, `"type":"last_match"`, 1))
	}
	x.current[ch][f.Product] = f
}

func (x *Exchange) sendLocked(channel, product string, p []byte) {
	for c := range x.clients {
		if c.subscribed.has(channel, product) {
			c.send(p)
		}
	}
}

// beat sends heartbeats of the fake's own, on the whole second, unless those of the recording are being played.
func (x *Exchange) beat(ctx context.Context) {
	for {
		next := time.Now().Truncate(time.Second).Add(time.Second)
		t := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		x.mu.Lock()
		if !x.playing || !x.recording.beats {
			for _, p := range x.recording.Products {
				f := x.current[chTicker][p]
				x.sendLocked(chHeartbeat, p, fmt.Appendf(nil, `{"type":"heartbeat","last_trade_id":%d,"product_id":%q,"sequence":%d,"time":%q}`,
					f.TradeID, p, f.Sequence, next.UTC().Format("2006-01-02T15:04:05.000000Z")))
			}
		}
		x.mu.Unlock()
	}
}

// disconnectAll ends every connection without a word, as a network does.
func (x *Exchange) disconnectAll() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for c := range x.clients {
		_ = c.ws.NetConn().Close()
	}
}

// client is one connection.
type client struct {
	x          *Exchange
	ws         *gws.Conn
	late       *time.Timer
	inTime     bool // it has subscribed; under x.mu, like the next
	subscribed set
}

func (x *Exchange) serve(w http.ResponseWriter, r *http.Request) {
	c := &client{x: x, subscribed: set{}}
	ws, err := gws.NewUpgrader(c, nil).Upgrade(w, r)
	if err != nil {
		return // what is no WebSocket has been answered
	}
	c.ws = ws
	c.late = time.AfterFunc(subscribeTime, c.tooLate)
	x.mu.Lock()
	x.clients[c] = struct{}{}
	x.stats.Connections++
	x.wg.Add(1)
	x.mu.Unlock()
	defer x.wg.Done()

	ws.ReadLoop()

	c.late.Stop()
	x.mu.Lock()
	delete(x.clients, c)
	x.mu.Unlock()
}

func (c *client) tooLate() {
	c.x.mu.Lock()
	defer c.x.mu.Unlock()
	if c.inTime {
		return
	}
	c.x.stats.Late++
	_ = c.ws.WriteClose(1000, nil) // fails if the client has gone by itself
}

// send is called under x.mu, so that all of a client's frames are in the exchange's order.
func (c *client) send(p []byte) {
	_ = c.ws.SetWriteDeadline(time.Now().Add(writeTime))
	_ = c.ws.WriteMessage(gws.OpcodeText, p) // a failure ends the connection, which ReadLoop notices
}

func (c *client) OnOpen(*gws.Conn)              {}
func (c *client) OnClose(*gws.Conn, error)      {}
func (c *client) OnPing(ws *gws.Conn, p []byte) { _ = ws.WritePong(p) }
func (c *client) OnPong(*gws.Conn, []byte)      {}

func (c *client) OnMessage(_ *gws.Conn, m *gws.Message) {
	defer m.Close()
	x := c.x
	x.mu.Lock()
	defer x.mu.Unlock()
	var r request
	fault := ""
	switch err := json.Unmarshal(m.Bytes(), &r); {
	case err != nil:
		fault = "Malformed JSON"
	case r.Type == "unsubscribe":
		c.subscribed.unsubscribe(&r)
		c.send(c.subscribed.ack())
		return
	case r.Type != "subscribe":
		fault = "Type has to be either subscribe or unsubscribe"
	default:
		fault = r.fault(x.recording.Products)
	}
	if fault != "" {
		x.stats.Refused++
		c.send(refusal(fault))
		return
	}
	x.stats.Subscribed++
	c.inTime = true
	asked := c.subscribed.subscribe(&r)
	c.send(c.subscribed.ack())
	for _, ch := range []string{chTicker, chMatches} {
		for p := range asked[ch] {
			if f, ok := x.current[ch][p]; ok {
				c.send(f.Data)
			}
		}
	}
}
