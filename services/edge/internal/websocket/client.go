package websocket

import (
	"unicode/utf8"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/services/edge/internal/bucket"
	"github.com/tickfan/tickfan/services/edge/internal/socket"
)

// client turns the frames of a connection into its session's calls.
type client struct {
	h       *Handler
	session *bucket.Session
	part    *fragments
	format  session.Format
	deflate bool
	made    uint32 // bytes inflated since the others last had their turn
}

func (h *Handler) newClient(s *bucket.Session, o offer) *client {
	return &client{h: h, session: s, format: o.format, deflate: o.deflate}
}

// next takes the first frame off p. size 0: it is not whole yet, or the connection ends. r is a request to be carried out,
// when the frame ends one.
func (c *client) next(conn *socket.Conn, p []byte) (r *session.Request, size int) {
	f, size, fault := parse(p, c.deflate)
	if fault != 0 {
		c.session.End(fault, reason(fault))
		return nil, 0
	}
	if size == 0 {
		return nil, 0
	}
	switch f.op {
	case opPing:
		_ = conn.Say(appendPong(nil, f.payload))
	case opPong:
	case opClose:
		answer, got := closing(f.payload)
		c.session.Ended(got)
		conn.End(appendClose(nil, answer, ""))
	default:
		r = c.data(&f)
	}
	return r, size
}

// data gives the request that a frame completes.
func (c *client) data(f *frame) *session.Request {
	whole, fault := join(&c.part, f)
	if fault == 0 && !whole {
		return nil
	}
	if fault == 0 && f.deflated {
		i := c.h.inflaters.get()
		defer c.h.inflaters.put(i)
		f.payload, fault = i.inflate(f.payload)
		c.made += uint32(len(f.payload))
	}
	text := f.op == opText
	if fault == 0 && text && !utf8.Valid(f.payload) {
		fault = code.InvalidPayload
	}
	if fault != 0 {
		c.session.End(fault, reason(fault))
		return nil
	}
	r, _ := decode(c.session, c.format, text, f.payload)
	return r
}

// readLoop reads a stream to its end. It is how a stream with compression is read: gws (1.8.9) ends a message that grows
// past the limit with 1011, after which clients come back, and takes RSV1 on any frame.
func (c *client) readLoop(s *socket.Stream) {
	buf := make([]byte, 512)
	var in []byte // what came of a frame that is not whole
	for {
		n, err := s.Read(buf) // TLS gives the last bytes together with the end, when both are there
		in = append(in, buf[:n]...)
		used := 0
		for !s.Closing() {
			r, size := c.next(&s.Conn, in[used:])
			if size == 0 {
				break
			}
			used += size
			if r != nil {
				done := make(chan struct{})
				c.session.Do(r, func() { close(done) })
				<-done
			}
		}
		switch {
		case err != nil:
			c.session.Ended(abnormal) // unless it is known better
			return
		case used == len(in):
			in = nil
		case used > 0:
			in = append(in[:0], in[used:]...)
		}
	}
}
