package websocket

import (
	"bufio"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/lxzan/gws"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/services/edge/internal/bucket"
	"github.com/tickfan/tickfan/services/edge/internal/socket"
)

// readBuffer is gws's buffer a connection: a header is read through it, a payload of more past it.
const readBuffer = 64

// Options of the transport.
type Options struct {
	Reserve func() *bucket.Bucket // gives a bucket with a place taken, or nil when the edge is full or stops
	Release func(*bucket.Bucket)  // gives the place back; nothing of the connection is left then
	Poller  *socket.Poller
	Now     func() int64 // monotonic nanoseconds
	Log     *slog.Logger
	Refuse  func(w http.ResponseWriter, status int, e *code.Error)
}

// Handler upgrades requests to WebSockets and serves them.
type Handler struct {
	o         Options
	upgraders [session.Formats + 1]*gws.Upgrader // by format; the last for a client that offers no subprotocol
}

// New makes a handler. gws refuses a client that offers no subprotocol when the server names any, so there is an upgrader
// for each case, chosen before the upgrade.
func New(o Options) *Handler {
	h := &Handler{o: o}
	for i := range h.upgraders {
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
		h.upgraders[i] = gws.NewUpgrader(events{}, opt)
	}
	return h
}

// ServeHTTP is GET /v1/ws. The Origin has been checked by then.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !isUpgrade(r) {
		w.Header().Set(upgradeHeader, "websocket")
		h.o.Refuse(w, http.StatusUpgradeRequired, code.Errorf(code.BadProtocol, "%s speaks WebSocket, version 13: send Upgrade: websocket", session.PathWS))
		return
	}
	which, ok := choose(r.Header)
	if !ok {
		h.o.Refuse(w, http.StatusBadRequest, code.Errorf(code.BadProtocol, "subprotocols %s: %s, or none for JSON",
			code.Quote(strings.Join(r.Header.Values(subprotocolHeader), ", ")), strings.Join(session.Subprotocols[:], ", ")))
		return
	}
	b := h.o.Reserve()
	if b == nil {
		w.Header().Set("Retry-After", "5")
		h.o.Refuse(w, http.StatusServiceUnavailable, code.Errorf(code.TooManyClients, "this edge is full: try again in 5 seconds, or another edge"))
		return
	}
	h.upgrade(w, r, which, b)
}

const (
	subprotocolHeader = "Sec-Websocket-Protocol"
	connectionHeader  = "Connection"
	upgradeHeader     = "Upgrade"
)

// isUpgrade checks what gws would refuse with an error in plain text.
func isUpgrade(r *http.Request) bool {
	return r.Method == http.MethodGet && r.ProtoAtLeast(1, 1) && hasToken(r.Header, connectionHeader, "upgrade") &&
		hasToken(r.Header, upgradeHeader, "websocket") && r.Header.Get("Sec-Websocket-Version") == "13" &&
		len(r.Header.Get("Sec-Websocket-Key")) == 24
}

func hasToken(h http.Header, name, token string) bool {
	for _, v := range h.Values(name) {
		for t := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}

// choose gives the upgrader for what the client offers; ok is false when it offers only what we do not know.
func choose(h http.Header) (which int, ok bool) {
	var offered []string
	for _, v := range h.Values(subprotocolHeader) {
		for p := range strings.SplitSeq(v, ",") {
			offered = append(offered, strings.TrimSpace(p))
		}
	}
	if len(offered) == 0 {
		return session.Formats, true
	}
	for _, p := range offered { // the client's order is his preference
		if i := slices.Index(session.Subprotocols[:], p); i >= 0 {
			return i, true
		}
	}
	return 0, false
}

func (h *Handler) upgrade(w http.ResponseWriter, r *http.Request, which int, b *bucket.Bucket) {
	nc, brw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		h.o.Release(b)
		h.o.Refuse(w, http.StatusInternalServerError, code.Of(err))
		return
	}
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		h.o.Release(b)
		_ = nc.Close()
		h.o.Log.Error("connection is no TCP connection", "remote", nc.RemoteAddr())
		return
	}
	var pre []byte
	if n := brw.Reader.Buffered(); n > 0 { // a client may speak right behind its handshake
		p, _ := brw.Reader.Peek(n)
		pre = slices.Clone(p)
	}
	_ = tcp.SetDeadline(noDeadline)
	format := session.JSON
	if which < session.Formats {
		format = session.Format(which)
	}
	s := b.Open(dialect(format))
	c, err := socket.New(tcp, pre, h.o.Poller, s.Writable, h.o.Now)
	if err != nil {
		h.o.Release(b)
		_ = tcp.Close()
		return
	}
	// gws looks at the first line of a header alone, and for subprotocols by its own order: tell it what was found.
	r.Header[connectionHeader], r.Header[upgradeHeader] = []string{"Upgrade"}, []string{"websocket"}
	if which < session.Formats {
		r.Header[subprotocolHeader] = []string{session.Subprotocols[which]}
	}
	ws, err := h.upgraders[which].UpgradeFromConn(&conn{Conn: c, session: s, format: format}, bufio.NewReaderSize(c, readBuffer), r)
	if err != nil {
		c.Linger()
		h.o.Release(b)
		return
	}
	go func() { // Release counts it out
		s.Start(c)
		ws.ReadLoop()
		s.Close()
		c.Linger()
		h.o.Release(b)
	}()
}
