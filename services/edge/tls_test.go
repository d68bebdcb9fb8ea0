package edge

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/libs/ops"
	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/services/edge/internal/certtest"
)

// startSecure is startEdge over TLS, with a certificate whose files are given too.
func startSecure(t *testing.T, r *region, a *certtest.Authority) (e *running, certFile, keyFile string) {
	t.Helper()
	certFile, keyFile = a.Files("first")
	e = startEdge(t, r, func(c *Config) { c.TLSCert, c.TLSKey, c.Reader = certFile, keyFile, "auto" })
	e.tls = a.Client()
	return e, certFile, keyFile
}

// Who does not get through the handshake is told why, where that can be told, is counted out again, and disturbs nobody.
func TestTLSRefusals(t *testing.T) {
	r := newRegion(t)
	e, _, _ := startSecure(t, r, certtest.NewAuthority(t))

	plain, err := net.Dial("tcp", e.url)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	_, _ = io.WriteString(plain, "GET /v1/ws HTTP/1.1\r\nHost: x\r\n\r\n")
	if p, _ := io.ReadAll(plain); !strings.Contains(string(p), "HTTP request to an HTTPS server") {
		t.Errorf("plain HTTP is answered %q", p)
	}

	var unknown x509.UnknownAuthorityError
	if _, err := tls.Dial("tcp", e.url, certtest.NewAuthority(t).Client()); !errors.As(err, &unknown) {
		t.Errorf("a client with another authority: %v", err)
	}
	old := e.tls.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if _, err := tls.Dial("tcp", e.url, old); err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("TLS 1.1: %v", err)
	}
	new := e.tls.Clone()
	new.NextProtos = []string{"h2", "http/1.1"}
	c, err := tls.Dial("tcp", e.url, new)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.ConnectionState().NegotiatedProtocol; got != "http/1.1" {
		t.Errorf("a client that offers h2 first gets %q", got)
	}
	if log := e.log.String(); strings.Count(log, "connection failed") != 1 {
		t.Errorf("not one line of log for all of them:\n%s", log)
	}
	other := dial(t, e, session.JSON)
	other.subscribe("BTC-USD")
	r.publish("BTC-USD", 1, "1")
	price(t, other.next(), "1")
}

// Both versions of TLS do.
func TestTLSVersions(t *testing.T) {
	r := newRegion(t)
	r.publish("BTC-USD", 1, "1")
	e, _, _ := startSecure(t, r, certtest.NewAuthority(t))
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		e.tls.MinVersion, e.tls.MaxVersion = v, v
		c := dial(t, e, session.JSON)
		c.subscribe("BTC-USD")
		price(t, c.next(), "1")
	}
}

// A new certificate is taken while the edge runs; connections made with the old one stay.
func TestCertificateIsReplaced(t *testing.T) {
	if os.Getenv(readerVar) != "" {
		return // it takes seconds, and is the same whatever the others read by
	}
	r := newRegion(t)
	a := certtest.NewAuthority(t)
	e, certFile, keyFile := startSecure(t, r, a)
	c := dial(t, e, session.JSON)
	c.subscribe("BTC-USD")
	cert, key := a.Pair("second", time.Now().Add(time.Hour))
	certtest.Write(t, certFile, cert)
	certtest.Write(t, keyFile, key)
	natstest.Eventually(t, 3*wait, func() bool {
		nc, err := tls.Dial("tcp", e.url, e.tls)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		return nc.ConnectionState().PeerCertificates[0].Subject.CommonName == "second"
	}, "the new certificate is not taken")
	r.publish("BTC-USD", 1, "1")
	price(t, c.next(), "1")
}

// The end of a connection is the end of its TLS too: a client can tell it from one that was cut off.
func TestTLSEnds(t *testing.T) {
	r := newRegion(t)
	e, _, _ := startSecure(t, r, certtest.NewAuthority(t))
	c := dialRaw(t, e)
	go func() { _ = e.stop() }()
	for {
		if p, op := c.frame(); op == 8 {
			if got := code.Close(p[0])<<8 | code.Close(p[1]); got != code.Drain {
				t.Errorf("closed with %d", got)
			}
			break
		}
	}
	if _, err := c.br.ReadByte(); err != io.EOF {
		t.Errorf("got %v, want the end", err)
	}
	_ = c.nc.Close()
}

// held keeps what is written to it until it is let go, in one piece.
type held struct {
	net.Conn
	hold bool
	p    []byte
}

func (h *held) Write(p []byte) (int, error) {
	if !h.hold {
		return h.Conn.Write(p)
	}
	h.p = append(h.p, p...)
	return len(p), nil
}

// What a client says right before the end of its TLS is heard, also when both come in one packet.
func TestLastWordsOverTLS(t *testing.T) {
	r := newRegion(t)
	e, _, _ := startSecure(t, r, certtest.NewAuthority(t))
	e.tls.MaxVersion = tls.VersionTLS12 // an alert can be told there before it is decrypted, and crypto/tls gives the end together with the rest
	for i, extensions := range []string{"x", offered} {
		tcp, err := net.Dial("tcp", e.url)
		if err != nil {
			t.Fatal(err)
		}
		h := &held{Conn: tcp}
		secret := tls.Client(h, e.tls)
		c, _ := upgrade(t, secret, "Sec-WebSocket-Extensions: "+extensions+"\r\n")
		h.hold = true
		c.put(0x88, []byte{0x03, 0xe9}) // 1001
		if err := secret.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		_ = tcp.SetWriteDeadline(time.Time{}) // TLS leaves one that is over
		if _, err := tcp.Write(h.p); err != nil {
			t.Fatal(err)
		}
		if got := c.closed(); got != 1000 {
			t.Errorf("%q: closed with %d", extensions, got)
		}
		counted(t, e, "tickfan_edge_closed_total", `code="1001"`, i+1)
	}
}

func TestTLSFlags(t *testing.T) {
	for _, x := range []struct{ cert, key, reader, want string }{
		{"c", "", "auto", "both or none"},
		{"", "k", "auto", "both or none"},
		{"c", "k", "epoll", "--reader epoll"},
		{"c", "k", "goroutine", ""},
		{"", "", "auto", ""},
	} {
		o := Options{Listen: ":8080", Name: "edge", Idle: time.Minute, Compression: "on", Reader: x.reader, TLSCert: x.cert, TLSKey: x.key}
		if err := o.Validate(); (err == nil) != (x.want == "") || err != nil && !strings.Contains(err.Error(), x.want) {
			t.Errorf("%+v: %v", x, err)
		}
	}
	mux, err := ops.New("edge")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = mux.Close(context.Background()) }()
	err = Run(t.Context(), Config{Options: Options{Listen: "127.0.0.1:0", TLSCert: "/none", TLSKey: "/none"}}, Deps{Ops: mux, Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), `--tls-cert "/none"`) {
		t.Errorf("got %v", err)
	}
}
