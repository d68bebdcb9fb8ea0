package fleet

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/tick"
)

// scripted is a server that says to each client, after the handshake, what a test has written down.
type scripted struct {
	t       *testing.T
	address string
}

// peer is a scripted server's side of one connection.
type peer struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

// script starts a scripted server; it ends with the test. The connection is closed when play returns.
func script(t *testing.T, play func(p *peer)) *scripted {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	over := false
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[conn] = true
			if over {
				_ = conn.Close()
			}
			mu.Unlock()
			all.Go(func() {
				p := &peer{Conn: conn, t: t, r: bufio.NewReader(conn)}
				if p.upgrade() {
					play(p)
				}
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		over = true
		for conn := range open {
			_ = conn.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return &scripted{t: t, address: l.Addr().String()}
}

func (p *peer) upgrade() bool {
	r, err := http.ReadRequest(p.r)
	if err != nil {
		return false
	}
	protocol := ""
	if s := r.Header.Get("Sec-WebSocket-Protocol"); s != "" {
		protocol = "Sec-WebSocket-Protocol: " + s + "\r\n"
	}
	return p.write(fmt.Appendf(nil, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"sec-websocket-accept: %s\r\n%s\r\n", handshakeAccept, protocol))
}

// write tells whether the client is still there.
func (p *peer) write(b []byte) bool {
	_, err := p.Write(b)
	return err == nil
}

// next reads a client's frame; ok is false when the client has gone.
func (p *peer) next() (opcode byte, payload []byte, ok bool) {
	head := make([]byte, 2, 1<<16)
	if _, err := io.ReadFull(p.r, head); err != nil {
		return 0, nil, false
	}
	more := 4 + int(head[1]&0x7f)
	if head[1]&0x7f == 126 {
		length := make([]byte, 2)
		if _, err := io.ReadFull(p.r, length); err != nil {
			return 0, nil, false
		}
		head = append(head, length...)
		more = 4 + int(length[0])<<8 + int(length[1])
	}
	rest := make([]byte, more)
	if _, err := io.ReadFull(p.r, rest); err != nil {
		return 0, nil, false
	}
	opcode, payload = unmask(p.t, append(head, rest...))
	return opcode, payload, true
}

// until reads frames until one with this opcode comes.
func (p *peer) until(opcode byte) (payload []byte, ok bool) {
	for {
		got, payload, ok := p.next()
		if !ok || got == opcode {
			return payload, ok
		}
	}
}

// gone waits until the client has closed the connection.
func (p *peer) gone() {
	if _, err := io.Copy(io.Discard, p.r); err != nil && !errors.Is(err, net.ErrClosed) {
		return // a reset is an end, too
	}
}

// priced is a tick in JSON with this number.
func priced(symbol int, number uint64) []byte {
	t := tick.Tick{Symbol: name(symbol), Position: tick.Position{Epoch: 1763769600, Seq: number},
		Quote: tick.Quote{Price: tick.MustDecimal(Price(number)), TS: time.Now().UnixMicro()}}
	return session.AppendTick(session.JSON, nil, &t)
}
