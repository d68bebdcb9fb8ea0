package websocket

import (
	"bufio"
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/lxzan/gws"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/services/edge/internal/bucket"
	"github.com/tickfan/tickfan/services/edge/internal/socket"
)

// readBuffer is gws's buffer a connection: a header is read through it, a payload of more past it.
const readBuffer = 64

// upgraders are gws's by format; the last for a client that offers no subprotocol, whom gws refuses when the server names
// any.
type upgraders [session.Formats + 1]*gws.Upgrader

func newUpgraders() (u upgraders) {
	for i := range u {
		opt := &gws.ServerOption{
			ReadMaxPayloadSize: session.MaxMessage,
			ReadBufferSize:     readBuffer,
			ParallelGolimit:    1,
			CheckUtf8Enabled:   true,
			Logger:             quiet{},
			NewSession:         func() gws.SessionStorage { return noSession{} },
		}
		if i < session.Formats {
			opt.SubProtocols = []string{session.Subprotocols[i]}
		}
		u[i] = gws.NewUpgrader(events{}, opt)
	}
	return u
}

// stream takes a connection out of net/http and has a goroutine of its own read it.
func (h *Handler) stream(w http.ResponseWriter, r *http.Request, o offer, b *bucket.Bucket) {
	nc, brw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		h.o.Release(b)
		h.o.Refuse(w, http.StatusInternalServerError, code.Of(err))
		return
	}
	var pre []byte
	if u, ok := nc.(interface{ Unwrap() (net.Conn, []byte) }); ok { // a poller began to read it
		nc, pre = u.Unwrap()
	}
	if n := brw.Reader.Buffered(); n > 0 { // a client may speak right behind its handshake
		p, _ := brw.Reader.Peek(n)
		pre = append(slices.Clone(p), pre...)
	}
	_ = nc.SetDeadline(time.Time{})
	s := b.Open(o.dialect())
	c, err := socket.NewStream(nc, pre, h.o.Pollers.Next(), s)
	if err != nil {
		h.o.Release(b)
		_ = nc.Close()
		h.log.Warn("client", "connection lost at its handshake", "remote", r.RemoteAddr, "error", err)
		return
	}
	if o.deflate {
		_ = c.Say(appendAccept(nil, r.Header.Get(keyHeader), o)) // if it fails the reader sees it
		s.Start(&c.Conn)
		go func() {
			h.newClient(s, o).readLoop(c)
			h.end(c, s)
		}()
		return
	}
	// gws looks at the first line of a header alone, and for subprotocols by its own order: tell it what was found.
	r.Header[connectionHeader], r.Header[upgradeHeader] = []string{"Upgrade"}, []string{"websocket"}
	which := session.Formats
	if o.named {
		which = int(o.format)
		r.Header[subprotocolHeader] = []string{o.format.String()}
	}
	ws, err := h.upgraders[which].UpgradeFromConn(&conn{Stream: c, session: s, format: o.format}, bufio.NewReaderSize(c, readBuffer), r)
	if err != nil {
		c.Linger()
		h.o.Release(b)
		return
	}
	s.Start(&c.Conn)
	// What waits on this goroutine's stack while nothing comes has to fit into the 1120 bytes that a stack of 2 KB leaves
	// to it (928 are the runtime's), or the stack grows to 4 KB, and for good: runtime.shrinkstack takes it back only if a
	// quarter is enough with 800 bytes on top. So nothing more is done here, in Stream.Read and below it than must be.
	go func() {
		defer h.left(ws)
		ws.ReadLoop()
	}()
}

// left ends what remains of a connection that has been read to its end.
//
// gws panics when a client declares a length of 2^63 bytes or more (gws 1.8.9): no client may end the edge with that. What
// runs of our own in ReadLoop does not panic for a client's sake: OnMessage leaves it.
func (h *Handler) left(ws *gws.Conn) {
	c := ws.NetConn().(*conn)
	if recover() != nil {
		c.session.End(code.TooBig, reason(code.TooBig))
	}
	h.end(c.Stream, c.session)
}

// end counts a connection out.
func (h *Handler) end(c *socket.Stream, s *bucket.Session) {
	s.Close()
	c.Linger()
	h.o.Release(s.Bucket())
}

// conn is what gws holds as its connection; through it an event finds its session.
type conn struct {
	*socket.Stream
	session *bucket.Session
	format  session.Format
}

// Write notes with which code gws ends the connection: a frame or a message that broke the rules. An echo of the
// client's own close is not that.
func (c *conn) Write(p []byte) (int, error) {
	if len(p) >= 4 && p[0] == finClose {
		if cc := code.Close(binary.BigEndian.Uint16(p[2:])); cc >= code.ProtocolError && cc <= code.InternalError {
			c.session.Ended(cc)
		}
	}
	return c.Stream.Write(p)
}

// events turns what gws reads into a session's calls. They come one after the other from the connection's reader.
type events struct{}

func (events) OnOpen(*gws.Conn) {}

// OnClose counts how it ended, unless we ended it ourselves.
func (events) OnClose(ws *gws.Conn, err error) {
	c := ws.NetConn().(*conn)
	var closed *gws.CloseError
	switch {
	case !errors.As(err, &closed):
		c.session.Ended(abnormal)
	case closed.Code == 0:
		c.session.Ended(noStatus)
	default:
		c.session.Ended(min(code.Close(closed.Code), applications))
	}
}

// OnPing answers with the ping's payload (gws's own handler answers with none).
func (events) OnPing(ws *gws.Conn, payload []byte) {
	_ = ws.NetConn().(*conn).Say(appendPong(nil, payload))
}

func (events) OnPong(*gws.Conn, []byte) {}

// OnMessage carries a request out on another goroutine and waits. Decoding needs 8 KB of stack, which the reader's would
// have for ever after: waiting for bytes through gws, bufio and net takes more of it than the runtime lets be to shrink it.
func (events) OnMessage(ws *gws.Conn, m *gws.Message) {
	defer m.Close()
	c := ws.NetConn().(*conn)
	if c.Closing() { // gws goes on with what it has read already
		return
	}
	done := make(chan struct{})
	go func() {
		if r, ok := decode(c.session, c.format, m.Opcode == gws.OpcodeText, m.Bytes()); ok {
			c.session.Do(r, func() { close(done) })
		} else {
			close(done)
		}
	}()
	<-done
}

// noSession stands for gws's store of values a connection, which nothing here uses.
type noSession struct{}

func (noSession) Len() int                     { return 0 }
func (noSession) Load(string) (any, bool)      { return nil, false }
func (noSession) Delete(string)                {}
func (noSession) Store(string, any)            {}
func (noSession) Range(func(string, any) bool) {}

// quiet drops gws's log lines: what goes wrong on a connection is its client's fault or its end, and is counted.
type quiet struct{}

func (quiet) Error(...any) {}
