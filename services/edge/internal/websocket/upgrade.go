package websocket

import (
	"crypto/sha1"
	"encoding/base64"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	quietlog "github.com/tickfan/tickfan/libs/quiet"
	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/services/edge/internal/bucket"
	"github.com/tickfan/tickfan/services/edge/internal/socket"
)

// Options of the transport.
type Options struct {
	Reserve func() *bucket.Bucket // gives a bucket with a place taken, or nil when the edge stops
	Release func(*bucket.Bucket)  // gives the place back; nothing of the connection is left then
	Pollers *socket.Pollers
	Deflate bool // agree to permessage-deflate
	Log     *slog.Logger
	Refuse  func(w http.ResponseWriter, status int, e *code.Error)
}

// Handler upgrades requests to WebSockets and serves them.
type Handler struct {
	o         Options
	log       *quietlog.Log
	upgraders upgraders
	inflaters inflaters
}

// New makes a handler.
func New(o Options) *Handler {
	return &Handler{o: o, log: quietlog.New(o.Log, logEvery), upgraders: newUpgraders()}
}

// logEvery is the least time between two lines about the same trouble.
const logEvery = 10 * time.Second

// ServeHTTP is GET /v1/ws. The Origin has been checked by then.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !isUpgrade(r) {
		w.Header().Set(upgradeHeader, "websocket")
		h.o.Refuse(w, http.StatusUpgradeRequired, code.Errorf(code.BadProtocol, "%s speaks WebSocket, version 13: send Upgrade: websocket", session.PathWS))
		return
	}
	o, ok := choose(r.Header)
	if !ok {
		h.o.Refuse(w, http.StatusBadRequest, code.Errorf(code.BadProtocol, "subprotocols %s: %s, or none for JSON",
			code.Quote(strings.Join(r.Header.Values(subprotocolHeader), ", ")), strings.Join(session.Subprotocols[:], ", ")))
		return
	}
	o.deflate = h.o.Deflate && offersDeflate(r.Header)
	b := h.o.Reserve()
	if b == nil {
		w.Header().Set("Retry-After", "1")
		h.o.Refuse(w, http.StatusServiceUnavailable, code.Errorf(code.Unavailable, "this edge takes no clients now: go to another one"))
		return
	}
	if !h.poll(w, r, o, b) {
		h.stream(w, r, o, b)
	}
}

const (
	subprotocolHeader = "Sec-Websocket-Protocol"
	connectionHeader  = "Connection"
	upgradeHeader     = "Upgrade"
	keyHeader         = "Sec-Websocket-Key"
)

// isUpgrade checks what gws would refuse with an error in plain text.
func isUpgrade(r *http.Request) bool {
	return r.Method == http.MethodGet && r.ProtoAtLeast(1, 1) && hasToken(r.Header, connectionHeader, "upgrade") &&
		hasToken(r.Header, upgradeHeader, "websocket") && r.Header.Get("Sec-Websocket-Version") == "13" &&
		len(r.Header.Get(keyHeader)) == 24
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

// offer is what a client and we agree on. named: the client offered subprotocols, so that the answer names one.
type offer struct {
	format  session.Format
	named   bool
	deflate bool // permessage-deflate
}

func (o offer) dialect() bucket.Dialect {
	if o.deflate {
		return deflating{dialect(o.format)}
	}
	return dialect(o.format)
}

// appendAccept appends the answer to a handshake (RFC 6455, 4.2.2).
func appendAccept(dst []byte, key string, o offer) []byte {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	dst = append(dst, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	dst = base64.StdEncoding.AppendEncode(dst, sum[:])
	if o.named {
		dst = append(append(dst, "\r\nSec-WebSocket-Protocol: "...), o.format.String()...)
	}
	if o.deflate {
		dst = append(dst, "\r\nSec-WebSocket-Extensions: "+deflateAnswer...)
	}
	return append(dst, "\r\n\r\n"...)
}

// choose gives the first that we know of what the client offers, whose order is his preference; JSON when he offers none.
// ok is false when he offers only what we do not know.
func choose(h http.Header) (o offer, ok bool) {
	for _, v := range h.Values(subprotocolHeader) {
		for p := range strings.SplitSeq(v, ",") {
			o.named = true
			if i := slices.Index(session.Subprotocols[:], strings.TrimSpace(p)); i >= 0 {
				return offer{format: session.Format(i), named: true}, true
			}
		}
	}
	return o, !o.named
}
