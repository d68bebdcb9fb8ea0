package websocket

import (
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"unicode/utf8"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/services/edge/internal/bucket"
	"github.com/tickfan/tickfan/services/edge/internal/socket"
)

// Polled is a ResponseWriter of a request that a poller read.
type Polled interface {
	http.ResponseWriter
	// Take gives the connection, which the handler answers on from now on.
	Take() *socket.Conn
}

// poll has a poller read the connection from now on. False: the request came through net/http.
func (h *Handler) poll(w http.ResponseWriter, r *http.Request, o offer, b *bucket.Bucket) bool {
	pw, ok := w.(Polled)
	if !ok {
		return false
	}
	c := pw.Take()
	s := b.Open(dialect(o.format))
	_ = c.Say(appendAccept(nil, r.Header.Get(keyHeader), o)) // if it fails the poller ends the connection
	c.Become(&client{h: h, session: s, format: o.format})
	s.Start(c)
	return true
}

// appendAccept appends the answer to a handshake (RFC 6455, 4.2.2).
func appendAccept(dst []byte, key string, o offer) []byte {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	dst = append(dst, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	dst = base64.StdEncoding.AppendEncode(dst, sum[:])
	if o.named {
		dst = append(append(dst, "\r\nSec-WebSocket-Protocol: "...), o.format.String()...)
	}
	return append(dst, "\r\n\r\n"...)
}

// client turns the bytes of a connection that a poller reads into its session's calls.
type client struct {
	h       *Handler
	session *bucket.Session
	part    *fragments
	format  session.Format
}

func (c *client) Writable() { c.session.Writable() }

func (c *client) Received(conn *socket.Conn, p []byte) (used int) {
	for !conn.Paused() {
		f, size, fault := parse(p[used:])
		if fault != 0 {
			c.session.End(fault, reason(fault))
			break
		}
		if size == 0 {
			break
		}
		used += size
		switch f.op {
		case opPing:
			_ = conn.Say(appendPong(nil, f.payload))
		case opPong:
		case opClose:
			answer, got := closing(f.payload)
			c.session.Ended(got)
			conn.End(appendClose(nil, answer, ""))
		default:
			c.data(conn, &f)
		}
	}
	return used
}

func (c *client) data(conn *socket.Conn, f *frame) {
	whole, fault := join(&c.part, f)
	text := f.op == opText
	switch {
	case fault != 0:
		c.session.End(fault, reason(fault))
		return
	case !whole:
		return
	case text && !utf8.Valid(f.payload):
		c.session.End(code.InvalidPayload, reason(code.InvalidPayload))
		return
	}
	if r, ok := decode(c.session, c.format, text, f.payload); ok {
		conn.Begin()
		c.session.Do(r, conn.Done)
	}
}

// Gone is the last call: the socket is closed.
func (c *client) Gone(*socket.Conn) {
	c.session.Ended(abnormal) // unless it is known better
	c.session.Close()
	c.h.o.Release(c.session.Bucket())
}
