package edge

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tickfan/tickfan/proto/session"
)

func get(t *testing.T, e *running, method, path string, headers ...string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequest(method, e.http()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	tr := &http.Transport{DisableKeepAlives: true, TLSClientConfig: e.tls}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	p, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(p)
}

// websocketHeaders are those of a handshake.
func websocketHeaders() []string {
	return []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}
}

func TestHTTP(t *testing.T) {
	r := newRegion(t)
	r.publish("BTC-USD", 1, "64123.50")
	e := startEdge(t, r, func(c *Config) { c.Origin = []string{"http://localhost:*"} })
	ws := websocketHeaders()
	for _, x := range []struct {
		name, method, path string
		headers            []string
		status             int
		body               string
	}{
		{"tick", "GET", "/v1/ticks/BTC-USD", nil, 200, `{"symbol":"BTC-USD","epoch":7,"seq":1,"price":"64123.50","ts":1763769600000001}`},
		{"symbols", "GET", "/v1/symbols", nil, 200, `{"symbols":["BTC-USD"]}`},
		{"no price", "GET", "/v1/ticks/NEW-USD", nil, 404, `"code":"no_price"`},
		{"bad symbol", "GET", "/v1/ticks/btc", nil, 400, `"code":"bad_symbol"`},
		{"no path", "GET", "/v1/nothing", nil, 404, `"code":"not_found"`},
		{"method", "POST", "/v1/symbols", nil, 405, `"code":"method_not_allowed"`},
		{"no upgrade", "GET", "/v1/ws", nil, 426, `"code":"bad_protocol"`},
		{"unknown subprotocol", "GET", "/v1/ws", append(ws, "Sec-WebSocket-Protocol", "soap, wamp"), 400, "tickfan.v1.json, tickfan.v1.msgpack, tickfan.v1.compact"},
		{"other origin", "GET", "/v1/symbols", []string{"Origin", "https://evil.example"}, 403, `"code":"bad_origin"`},
		{"other origin's socket", "GET", "/v1/ws", append(ws, "Origin", "https://evil.example"), 403, `"code":"bad_origin"`},
		{"named origin", "GET", "/v1/symbols", []string{"Origin", "http://localhost:3000"}, 200, "BTC-USD"},
		{"same host", "GET", "/v1/symbols", []string{"Origin", "http://" + e.url}, 200, "BTC-USD"},
		{"page", "GET", "/", nil, 200, "<html"},
	} {
		status, head, body := get(t, e, x.method, x.path, x.headers...)
		if status != x.status || !strings.Contains(body, x.body) {
			t.Errorf("%s: %d %s", x.name, status, body)
		}
		if x.name == "named origin" && head.Get("Access-Control-Allow-Origin") != "http://localhost:3000" {
			t.Errorf("CORS: %v", head)
		}
	}
	if !strings.Contains(e.log.String(), "--origin") {
		t.Error("the log does not name --origin")
	}
}

func TestFull(t *testing.T) {
	e := startEdge(t, newRegion(t), func(c *Config) { c.MaxConns = 1 })
	dial(t, e, session.JSON)
	status, head, body := get(t, e, "GET", "/v1/ws", websocketHeaders()...)
	if status != 503 || head.Get("Retry-After") == "" || !strings.Contains(body, `"too_many_clients"`) {
		t.Errorf("full: %d %v %s", status, head, body)
	}
}

// A handshake may spread a header over several lines, as RFC 9110 has it.
func TestHandshakeHeaderLines(t *testing.T) {
	r := newRegion(t)
	e := startEdge(t, r)
	c := e.dial(0)
	defer c.Close()
	fmt.Fprintf(c, "GET /v1/ws HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: foo, websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	line := make([]byte, len("HTTP/1.1 101"))
	if _, err := io.ReadFull(c, line); err != nil || string(line) != "HTTP/1.1 101" {
		t.Errorf("%q, %v", line, err)
	}
}

// Who asks while no router answers is told so after one wait, not after as many as there are others who ask.
func TestNoRouterIsOneWait(t *testing.T) {
	r := newRegion(t)
	e := startEdge(t, r)
	r.set(func() { r.mute = true })
	web := &http.Client{Transport: &http.Transport{TLSClientConfig: e.tls}}
	defer web.CloseIdleConnections()
	const clients = 20
	start := time.Now()
	done := make(chan int, clients)
	for range clients {
		go func() {
			resp, err := web.Get(e.http() + session.PathSymbols)
			if err != nil {
				done <- 0
				return
			}
			_ = resp.Body.Close()
			done <- resp.StatusCode
		}()
	}
	for range clients {
		if status := <-done; status != 503 {
			t.Errorf("status %d", status)
		}
	}
	if took := time.Since(start); took > wait {
		t.Errorf("took %s", took)
	}
}

// A request that takes its time holds up nobody's socket, whatever it says of upgrades (curl --http2 says h2c).
func TestUpgradeHeaderOnPlainHTTP(t *testing.T) {
	r := newRegion(t)
	e := startEdge(t, r)
	var clients []*client
	for range 2 * cores() { // at least one on each poller
		c := dial(t, e, session.JSON)
		c.text(`{"op":"ping","id":1}`)
		c.expect(session.OpPong)
		clients = append(clients, c)
	}
	r.set(func() { r.mute = true }) // routers do not answer
	var answered atomic.Int32
	for range 2 * cores() {
		nc := e.dial(0)
		defer nc.Close()
		fmt.Fprint(nc, "GET /v1/ticks/NEW-USD?epoch=1&from=1&to=1000 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
		go func() {
			_, _ = nc.Read(make([]byte, 1))
			answered.Add(1)
		}()
	}
	for _, c := range clients {
		c.text(`{"op":"ping","id":2}`)
	}
	for _, c := range clients {
		c.expect(session.OpPong)
	}
	if n := answered.Load(); n > 0 {
		t.Errorf("the pongs came after %d answers", n)
	}
}

// A connection that was used for plain HTTP may become a WebSocket, as a proxy's does that keeps connections.
func TestUpgradeOfKeptConnection(t *testing.T) {
	r := newRegion(t)
	r.publish("BTC-USD", 1, "1")
	e := startEdge(t, r)
	nc := e.dial(0)
	defer nc.Close()
	br := bufio.NewReader(nc)
	for _, x := range []struct {
		request string
		status  int
	}{
		{"GET /v1/symbols HTTP/1.1\r\nHost: x\r\n\r\n", 200},
		{"GET /v1/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", 101},
	} {
		fmt.Fprint(nc, x.request)
		resp, err := http.ReadResponse(br, nil)
		if err != nil || resp.StatusCode != x.status {
			t.Fatalf("%v, %v, want %d", resp, err, x.status)
		}
		if x.status == 200 {
			_, _ = io.Copy(io.Discard, resp.Body)
		}
	}
}
