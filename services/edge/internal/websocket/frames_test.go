package websocket

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/lxzan/gws"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/session"
)

// masked is a client's frame.
func masked(first byte, payload []byte) []byte {
	p := []byte{first}
	switch n := len(payload); {
	case n <= 125:
		p = append(p, 0x80|byte(n))
	case n <= 0xffff:
		p = binary.BigEndian.AppendUint16(append(p, 0x80|126), uint16(n))
	default:
		p = binary.BigEndian.AppendUint64(append(p, 0x80|127), uint64(n))
	}
	key := []byte{1, 2, 3, 4}
	p = append(p, key...)
	for i, b := range payload {
		p = append(p, b^key[i%4])
	}
	return p
}

// ours is what the frames in p mean, by the parser: one line for each message, ping and end.
func ours(p []byte, piece int, deflate bool) (events []string) {
	var part *fragments
	var pool inflaters
	var buf []byte
	for len(p) > 0 {
		n := min(piece, len(p))
		buf, p = append(buf, p[:n]...), p[n:]
		for {
			f, size, fault := parse(buf, deflate)
			if fault != 0 {
				return append(events, fmt.Sprint("close ", fault))
			}
			if size == 0 {
				break
			}
			switch f.op {
			case opPing:
				events = append(events, fmt.Sprintf("ping %q", f.payload))
			case opPong:
			case opClose:
				answer, _ := closing(f.payload)
				return append(events, fmt.Sprint("close ", answer))
			default:
				whole, fault := join(&part, &f)
				if whole && f.deflated {
					f.payload, fault = pool.get().inflate(f.payload)
				}
				if whole && f.op == opText && !utf8.Valid(f.payload) {
					fault = code.InvalidPayload
				}
				if fault != 0 {
					return append(events, fmt.Sprint("close ", fault))
				}
				if whole {
					events = append(events, fmt.Sprintf("message %d %q", f.op, f.payload))
				}
			}
			buf = buf[size:]
		}
	}
	return events
}

// theirs is the same by gws. It ends with "end" when the bytes end before anything closes the connection.
func theirs(t *testing.T, p []byte, deflate bool) []string {
	t.Helper()
	u := gws.NewUpgrader(&recorder{}, &gws.ServerOption{ReadMaxPayloadSize: session.MaxMessage, CheckUtf8Enabled: true, Logger: quiet{},
		PermessageDeflate: gws.PermessageDeflate{Enabled: deflate, PoolSize: 1}})
	c := &memory{in: bytes.NewReader(p)}
	r, err := http.NewRequest(http.MethodGet, "/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, keyHeader: {"x"}}
	if deflate {
		r.Header[extensionsHeader] = []string{deflateAnswer}
	}
	ws, err := u.UpgradeFromConn(c, bufio.NewReader(c), r)
	if err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() {
			if recover() != nil { // gws 1.8.9, at a length of 2^63 and more
				c.events = append(c.events, fmt.Sprint("close ", code.TooBig))
			}
		}()
		ws.ReadLoop()
	}()
	return c.events
}

// memory is a connection whose client has said all that it will say.
type memory struct {
	in     *bytes.Reader
	out    int
	events []string
}

func (c *memory) Read(p []byte) (int, error) { return c.in.Read(p) }

func (c *memory) Write(p []byte) (int, error) {
	if c.out++; c.out > 1 && p[0] == finClose { // the first is the handshake's answer
		answer := code.Close(0)
		if len(p) >= 4 {
			answer = code.Close(binary.BigEndian.Uint16(p[2:]))
		}
		c.events = append(c.events, fmt.Sprint("close ", answer))
	}
	return len(p), nil
}

func (*memory) Close() error                     { return nil }
func (*memory) LocalAddr() net.Addr              { return nil }
func (*memory) RemoteAddr() net.Addr             { return nil }
func (*memory) SetDeadline(time.Time) error      { return nil }
func (*memory) SetReadDeadline(time.Time) error  { return nil }
func (*memory) SetWriteDeadline(time.Time) error { return nil }

type recorder struct{ gws.BuiltinEventHandler }

func (*recorder) OnPing(ws *gws.Conn, p []byte) {
	c := ws.NetConn().(*memory)
	c.events = append(c.events, fmt.Sprintf("ping %q", p))
}

func (*recorder) OnMessage(ws *gws.Conn, m *gws.Message) {
	defer m.Close()
	c := ws.NetConn().(*memory)
	c.events = append(c.events, fmt.Sprintf("message %d %q", m.Opcode, m.Bytes()))
}

func (*recorder) OnClose(ws *gws.Conn, err error) {
	c := ws.NetConn().(*memory)
	if closed := (*gws.CloseError)(nil); !errors.As(err, &closed) && c.in.Len() == 0 {
		c.events = append(c.events, "end")
	}
}

// Whatever bytes come, the frames mean what gws takes them for, however the bytes are cut into pieces. The one difference:
// a fault is told as soon as it can be seen, where gws waits for the whole frame. With compression gws takes reserved bits
// that RFC 7692 forbids, and has other codes for what cannot be inflated: then it only must agree on what came before.
func FuzzFrames(f *testing.F) {
	f.Add(masked(0x81, []byte(`{"op":"ping"}`)), 3, false)
	f.Add(append(masked(0x01, []byte("hel")), masked(0x80, []byte("lo"))...), 1, false)
	f.Add(append(append(masked(0x02, []byte("a")), masked(0x89, []byte("p"))...), masked(0x80, []byte("b"))...), 5, false)
	f.Add(masked(0x88, []byte{3, 232, 'b', 'y', 'e'}), 2, false)
	f.Add(masked(0x88, nil), 2, false)
	f.Add(masked(0x88, []byte{3}), 2, false)
	f.Add(masked(0x88, []byte{0x0f, 0xa0}), 2, false)
	f.Add(masked(0x81, []byte{0xff, 0xfe}), 100, false)
	f.Add(masked(0x82, make([]byte, 300)), 7, false)
	f.Add(masked(0x82, make([]byte, session.MaxMessage)), 30000, false)
	f.Add(masked(0x82, make([]byte, session.MaxMessage+1)), 30000, false)
	f.Add(append(masked(0x02, make([]byte, session.MaxMessage)), masked(0x80, []byte("x"))...), 30000, false)
	f.Add([]byte{0x81, 0x01, 'x'}, 9, false)
	f.Add([]byte{0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4, 5}, 4, false)
	f.Add(masked(0xc1, []byte("x")), 9, false)
	f.Add(masked(0x83, []byte("x")), 9, false)
	f.Add(masked(0x8b, []byte("x")), 9, false)
	f.Add(masked(0x09, []byte("x")), 9, false)
	f.Add(masked(0x80, []byte("x")), 9, false)
	for _, text := range []string{"", "hello", strings.Repeat("hello ", 2000), "\xff"} {
		f.Add(masked(0xc1, appendDeflated(nil, []byte(text))), 3, true)
	}
	long := appendDeflated(nil, make([]byte, session.MaxMessage))
	f.Add(masked(0xc2, long), 9, true)
	f.Add(append(masked(0x42, long[:9]), masked(0x80, long[9:])...), 9, true)
	f.Add(masked(0xc2, appendDeflated(nil, make([]byte, session.MaxMessage+1))), 9, true)
	f.Add(append(masked(0x41, []byte("x")), masked(0xc0, []byte("x"))...), 9, true)
	f.Add(masked(0xc9, []byte("x")), 9, true)
	f.Add(masked(0xc1, []byte("nonsense")), 9, true)
	f.Add(masked(0xa1, []byte("x")), 9, true)
	f.Fuzz(func(t *testing.T, p []byte, piece int, deflate bool) {
		whole := ours(bytes.Clone(p), max(len(p), 1), deflate)
		if pieces := ours(bytes.Clone(p), max(piece, 1), deflate); !slices.Equal(whole, pieces) {
			t.Fatalf("whole %q, in pieces %q", whole, pieces)
		}
		want := theirs(t, p, deflate)
		if n := len(whole); deflate && n > 0 && strings.HasPrefix(whole[n-1], "close") {
			whole = whole[:n-1]
			want = want[:min(len(want), n-1)]
		}
		if n := len(want); n > 0 && want[n-1] == "end" {
			// gws says a close of its own when the bytes end; ours may have seen a fault in the beginning of a frame.
			want = slices.DeleteFunc(want[:n-1], func(e string) bool { return len(e) > 5 && e[:5] == "close" })
			whole = whole[:min(len(whole), len(want))]
		}
		if !slices.Equal(whole, want) {
			t.Fatalf("ours %q, gws %q", whole, want)
		}
	})
}

func TestUnmask(t *testing.T) {
	key := [4]byte{0xde, 0xad, 0xbe, 0xef}
	for n := range 40 {
		p, want := make([]byte, n), make([]byte, n)
		for i := range p {
			p[i] = byte(i * 7)
			want[i] = p[i] ^ key[i%4]
		}
		if unmask(p, key); !bytes.Equal(p, want) {
			t.Fatalf("%d bytes: % x, want % x", n, p, want)
		}
	}
}
