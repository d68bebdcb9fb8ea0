package tickfan

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/lxzan/gws"
	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/session"
)

const (
	handshakeTimeout = 10 * time.Second
	userAgent        = "tickfan-go"
	maxMessage       = 1 << 20  // bytes of one message of an edge; the longest, an answer with 1,000 symbols, has 70 KB
	readBuffer       = 32 << 10 // an edge joins many frames in a write
	longestRetry     = 5 * time.Minute
)

// parseURLs reads comma-separated URLs of edges.
func parseURLs(list string) ([]*url.URL, error) {
	var urls []*url.URL
	for text := range strings.SplitSeq(list, ",") {
		u, err := url.Parse(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("parse edge URL: %w", err)
		}
		switch u.Scheme {
		case "ws", "wss":
		case "http":
			u.Scheme = "ws"
		case "https":
			u.Scheme = "wss"
		default:
			return nil, fmt.Errorf("parse edge URL %q: must begin with ws://, wss://, http:// or https://", u.Redacted())
		}
		if u.Hostname() == "" {
			return nil, fmt.Errorf("parse edge URL %q: no host", u.Redacted())
		}
		if u.Path == "" || u.Path == "/" {
			u.Path = session.PathWS
		}
		urls = append(urls, u)
	}
	return urls, nil
}

// address is what to dial for u.
func address(u *url.URL) string {
	port := "80"
	if u.Scheme == "wss" {
		port = "443"
	}
	return net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), port))
}

// socket is the network connection under gws. It puts a deadline on each read and write, so that a dead edge ends the
// connection, and keeps gws from closing it while the body of a refused handshake is still to be read.
type socket struct {
	net.Conn
	open    bool        // the handshake is done
	closing atomic.Bool // no write may take longer than closeTimeout any more
}

func (s *socket) Read(p []byte) (int, error) {
	if s.open {
		if err := s.SetReadDeadline(time.Now().Add(deadAfter)); err != nil {
			return 0, err
		}
	}
	return s.Conn.Read(p)
}

func (s *socket) Write(p []byte) (int, error) {
	if s.open && !s.closing.Load() {
		if err := s.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
			return 0, err
		}
		if s.closing.Load() { // hurry came between
			s.hurry()
		}
	}
	return s.Conn.Write(p)
}

// hurry gives a write that is under way, and all that follow, closeTimeout together.
func (s *socket) hurry() {
	s.closing.Store(true)
	// A connection that takes no deadline is closed, and then nothing blocks on it.
	_ = s.SetWriteDeadline(time.Now().Add(closeTimeout))
}

// SetDeadline is called by gws for its own handshake timeout; dial has set a shorter one.
func (s *socket) SetDeadline(time.Time) error { return nil }

func (s *socket) Close() error {
	if !s.open {
		return nil
	}
	return s.Conn.Close()
}

// dial makes one attempt at one URL. Events of the connection go to l, which the caller has made.
func (o *Options) dial(ctx context.Context, u *url.URL, l *link) (err error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	conn, err := o.connect(ctx, u)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			conn.Close()
		}
	}()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	// Closing is what gets a blocked handshake out when ctx ends early.
	stop := context.AfterFunc(ctx, func() { conn.Close() })

	s := &socket{Conn: conn}
	ws, resp, err := gws.NewClientFromConn(l, &gws.ClientOption{
		Addr:               u.String(),
		RequestHeader:      o.header(),
		HandshakeTimeout:   2 * handshakeTimeout, // never before ours: gws would leave a goroutine behind
		ReadMaxPayloadSize: maxMessage,
		ReadBufferSize:     readBuffer,
	}, s)
	switch {
	case err != nil && resp != nil && resp.StatusCode != http.StatusSwitchingProtocols:
		err = readRefusal(resp)
	case err != nil && resp != nil:
		err = fmt.Errorf("%w: %w", errNotTickfan, err)
	}
	if !stop() {
		return context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return err
	}
	s.open = true
	l.ws, l.conn = ws, s
	l.format = session.Format(slices.Index(session.Subprotocols[:], ws.SubProtocol())) // one of those offered: gws has looked
	return nil
}

// connect opens the network connection, with TLS where the URL asks for it.
func (o *Options) connect(ctx context.Context, u *url.URL) (net.Conn, error) {
	netDial := o.NetDial
	if netDial == nil {
		netDial = new(net.Dialer).DialContext
	}
	conn, err := netDial(ctx, "tcp", address(u))
	if err != nil || u.Scheme == "ws" {
		return conn, err
	}
	config := &tls.Config{}
	if o.TLS != nil {
		config = o.TLS.Clone()
	}
	config.ServerName = cmp.Or(config.ServerName, u.Hostname())
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("handshake TLS: %w", err)
	}
	return secure, nil
}

func (o *Options) header() http.Header {
	h := http.Header{}
	for name, values := range o.Header {
		h[http.CanonicalHeaderKey(name)] = values
	}
	if h.Get("User-Agent") == "" {
		h.Set("User-Agent", userAgent)
	}
	var offered []string
	for _, f := range o.Encoding.formats() {
		offered = append(offered, f.String())
	}
	h.Set("Sec-WebSocket-Protocol", strings.Join(offered, ", "))
	return h
}

// readRefusal reads why a handshake was refused.
func readRefusal(resp *http.Response) error {
	r := &refusal{status: resp.StatusCode}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
		r.after = min(time.Duration(min(seconds, 1<<20))*time.Second, longestRetry)
	}
	var body struct{ Error *code.Error }
	p, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err == nil && json.Unmarshal(p, &body) == nil && body.Error != nil && body.Error.Code != "" {
		r.fault = body.Error
	}
	r.secure = string(p) == wantsTLS
	return r
}

// wantsTLS is what package net/http answers where it speaks TLS and was not asked to.
const wantsTLS = "Client sent an HTTP request to an HTTPS server.\n"

// retryAfter is the longest wait that edges asked for in err.
func retryAfter(err error) time.Duration {
	var r *refusal
	if errors.As(err, &r) {
		return r.after
	}
	return 0
}
