package websocket

import (
	"net/http"

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
	s := b.Open(o.dialect())
	_ = c.Say(appendAccept(nil, r.Header.Get(keyHeader), o)) // if it fails the poller ends the connection
	c.Become(polled{h.newClient(s, o)})
	s.Start(c)
	return true
}

// polled is a client that a poller reads.
type polled struct{ *client }

func (c polled) Writable() { c.session.Writable() }

// turn is how many bytes are inflated, about, before the other connections have their turn. A poller reads 64 KB at once,
// which can be 500 messages of 64 KB each when inflated: seconds of work.
const turn = 16 << 10

func (c polled) Received(conn *socket.Conn, p []byte) (used int) {
	for !conn.Paused() {
		r, size := c.next(conn, p[used:])
		if size == 0 {
			break
		}
		used += size
		if r != nil {
			conn.Begin()
			c.session.Do(r, conn.Done)
		}
		if c.made > turn {
			c.made = 0
			conn.Rest()
		}
	}
	return used
}

// Gone is the last call: the socket is closed.
func (c polled) Gone(*socket.Conn) {
	c.session.Ended(abnormal) // unless it is known better
	c.session.Close()
	c.h.o.Release(c.session.Bucket())
}
