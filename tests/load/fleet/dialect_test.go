package fleet

import (
	"bufio"
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
)

func TestHandshake(t *testing.T) {
	for d, path := range map[Dialect]string{JSON: "/v1/ws", MessagePack: "/v1/ws", Compact: "/v1/ws", Frames: "/v1/ws", NATS: "/"} {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(handshake(d, "127.0.0.1:8080", ""))))
		if err != nil {
			t.Fatalf("%s: %v", d, err)
		}
		if r.URL.Path != path || r.Host != "127.0.0.1:8080" || r.Header.Get("Sec-WebSocket-Protocol") != d.subprotocol() {
			t.Errorf("%s: %+v", d, r)
		}
	}
	if r := string(handshake(JSON, "a:1", "/other")); !strings.HasPrefix(r, "GET /other HTTP/1.1\r\n") {
		t.Errorf("%q", r)
	}
}

func TestUpgraded(t *testing.T) {
	const right = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSEC-WebSocket-Accept:  " + handshakeAccept
	for _, c := range []struct {
		d    Dialect
		head string
		want string
	}{
		{Frames, right, ""},
		{JSON, right + "\r\nsec-websocket-protocol: tickfan.v1.json", ""},
		{JSON, right, `upgraded to subprotocol ""`},
		{MessagePack, right + "\r\nSec-WebSocket-Protocol: tickfan.v1.json", `upgraded to subprotocol "tickfan.v1.json"`},
		{NATS, "HTTP/1.1 101 Switching Protocols", "upgraded with a wrong Sec-WebSocket-Accept"},
		{JSON, "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1", "HTTP/1.1 503 Service Unavailable"},
	} {
		if got := upgraded(c.d, c.head); got != c.want {
			t.Errorf("%s %q: %q, want %q", c.d, c.head, got, c.want)
		}
	}
}

// TestSubscribe holds what is written by hand against the edge's own decoder.
func TestSubscribe(t *testing.T) {
	for _, d := range []Dialect{JSON, MessagePack, Compact} {
		for _, p := range []Plan{{}, {MaxRate: 20}, {Mode: "every"}, {Mode: "latest", MaxRate: 1}} {
			p.Dialect = d
			opcode, payload := unmask(t, p.appendSubscribe(nil, []string{"L0-USD", "L1-USD"}))
			r, err := session.DecodeRequest(d.format(), payload)
			if err != nil || (opcode == opText) != (d == JSON) {
				t.Fatalf("%s %q: opcode %d, %v", d, payload, opcode, err)
			}
			if r.Op != session.OpSubscribe || r.ID == nil || !slices.Equal(r.Symbols, []subject.Symbol{"L0-USD", "L1-USD"}) ||
				r.MaxRate != p.MaxRate || (r.Mode == session.Every) != (p.Mode == "every") {
				t.Errorf("%s %q: %+v", d, payload, r)
			}
		}
	}
	if p := (&Plan{Dialect: Frames}); p.appendSubscribe(nil, []string{"L0-USD"}) != nil {
		t.Error("a client of a server that pushes unasked asks")
	}
}

func TestPlanRefused(t *testing.T) {
	right := Plan{Dialect: JSON, Symbols: 3, Each: 3}
	if _, err := newCrowd(right); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(p *Plan){
		"dialect": func(p *Plan) { p.Dialect = "morse" },
		"mode":    func(p *Plan) { p.Mode = "some" },
		"too few": func(p *Plan) { p.Each = 0 },
		"too many": func(p *Plan) {
			p.Names = []string{"A", "B"}
		},
	} {
		p := right
		change(&p)
		if _, err := newCrowd(p); err == nil {
			t.Errorf("%s: %+v is taken", name, p)
		}
	}
}

func TestNATSRefuses(t *testing.T) {
	for _, p := range []string{"MSG a 1 x\r\n", "MSG \r\n", "MSG a 1 99999999999\r\n", "MSG a 1 17000000\r\n", "MSG a 1 2\r\nabcd", "HELLO\r\n", "\r\n"} {
		if n, err := new(natsOp).cutNATS([]byte(p)); err == nil || n != 0 {
			t.Errorf("%q: %d, %v", p, n, err)
		}
	}
}

// FuzzNATS cuts the same bytes whole and from pieces.
func FuzzNATS(f *testing.F) {
	f.Add([]byte("INFO {}\r\nPING\r\nMSG a.b 1 5\r\nhello\r\nMSG a 1 reply 0\r\n\r\n+OK\r\n-ERR 'x'\r\nPONG\r\n"), uint16(20))
	f.Fuzz(func(t *testing.T, p []byte, at uint16) {
		cutAll := func(p []byte) (ops []natsOp, rest []byte, err error) {
			for {
				var o natsOp
				n, err := o.cutNATS(p)
				if n == 0 || err != nil {
					return ops, p, err
				}
				ops, p = append(ops, o), p[n:]
			}
		}
		whole, rest, err := cutAll(p)
		first, left, early := cutAll(p[:min(int(at), len(p))])
		if early != nil {
			if err == nil {
				t.Fatalf("refused in pieces alone: %v", early)
			}
			return
		}
		second, restAgain, errAgain := cutAll(append(bytes.Clone(left), p[min(int(at), len(p)):]...))
		if (err == nil) != (errAgain == nil) || len(whole) != len(first)+len(second) || !bytes.Equal(rest, restAgain) {
			t.Fatalf("whole: %d, %q, %v; in pieces: %d, %q, %v", len(whole), rest, err, len(first)+len(second), restAgain, errAgain)
		}
		for i, o := range append(first, second...) {
			if o.verb != whole[i].verb || !bytes.Equal(o.payload, whole[i].payload) {
				t.Fatalf("operation %d: %+v and %+v", i, o, whole[i])
			}
		}
	})
}
