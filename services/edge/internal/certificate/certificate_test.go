package certificate

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/services/edge/internal/certtest"
)

func TestMain(m *testing.M) { natstest.Main(m) }

const wait = 10 * time.Second

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func logger(l *logBuffer) *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// name is whom a client meets.
func name(t *testing.T, p *Pair, a *certtest.Authority) string {
	t.Helper()
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	s := tls.Server(there, p.Config())
	done := make(chan error, 1)
	go func() { done <- s.Handshake() }()
	c := tls.Client(here, a.Client())
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = c.Read(make([]byte, 1)) }() // the session tickets
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return c.ConnectionState().PeerCertificates[0].Subject.CommonName
}

func TestLoadSaysWhatIsWrong(t *testing.T) {
	a := certtest.NewAuthority(t)
	cert, key := a.Pair("edge", time.Now().Add(time.Hour))
	other, _ := a.Pair("other", time.Now().Add(time.Hour))
	dir := t.TempDir()
	file := func(name string, p []byte) string {
		name = filepath.Join(dir, name)
		certtest.Write(t, name, p)
		return name
	}
	goodCert, goodKey := file("cert", cert), file("key", key)
	encrypted := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("secret")})
	for _, x := range []struct{ name, cert, key, want string }{
		{"no files", dir + "/none", dir + "/none", "--tls-key"},
		{"no certificate file", dir + "/none", goodKey, "--tls-cert"},
		{"no key file", goodCert, dir + "/none", "no such file"},
		{"a folder", dir, goodKey, "directory"},
		{"swapped", goodKey, goodCert, "no certificate in PEM"},
		{"empty certificate", file("empty", nil), goodKey, "no certificate in PEM"},
		{"torn certificate", file("torn", cert[:len(cert)/2]), goodKey, "no certificate in PEM"},
		{"no key in it", goodCert, goodCert, "no private key in PEM"},
		{"encrypted key", goodCert, file("encrypted", encrypted), "encrypted"},
		{"another's key", file("other", other), goodKey, "does not match"},
	} {
		_, err := Load(x.cert, x.key, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), x.want) || !strings.Contains(err.Error(), "--tls-") {
			t.Errorf("%s: got %v, want %q", x.name, err, x.want)
		}
	}
	if _, err := Load(goodCert, goodKey, slog.New(slog.DiscardHandler)); err != nil {
		t.Error(err)
	}
}

func TestExpiredIsSaid(t *testing.T) {
	a := certtest.NewAuthority(t)
	cert, key := a.Pair("old", time.Now().Add(-time.Minute))
	dir := t.TempDir()
	certtest.Write(t, dir+"/c", cert)
	certtest.Write(t, dir+"/k", key)
	var l logBuffer
	if _, err := Load(dir+"/c", dir+"/k", logger(&l)); err != nil || !strings.Contains(l.String(), "expired") {
		t.Errorf("%v, log %q", err, l.String())
	}
}

// A new pair is taken without a restart; a broken one is told once, and the old one stays.
func TestReload(t *testing.T) {
	a := certtest.NewAuthority(t)
	certFile, keyFile := a.Files("first")
	var l logBuffer
	p, err := Load(certFile, keyFile, logger(&l))
	if err != nil {
		t.Fatal(err)
	}
	looks := func() {
		for range 4 {
			p.look()
		}
	}
	is := func(want string) {
		t.Helper()
		if got := name(t, p, a); got != want {
			t.Fatalf("clients meet %q, want %q", got, want)
		}
	}
	looks()
	is("first")

	cert, key := a.Pair("second", time.Now().Add(time.Hour))
	certtest.Write(t, certFile, cert)
	p.look() // between the two files
	certtest.Write(t, keyFile, key)
	looks()
	is("second")
	if strings.Contains(l.String(), "not taken") {
		t.Errorf("files that are being written are told as a fault:\n%s", &l)
	}

	certtest.Write(t, certFile, []byte("nonsense"))
	looks()
	is("second")
	if err := os.Remove(keyFile); err != nil {
		t.Fatal(err)
	}
	looks()
	is("second")
	if n := strings.Count(l.String(), "not taken"); n != 2 {
		t.Errorf("two broken pairs are told %d times:\n%s", n, &l)
	}

	cert, key = a.Pair("third", time.Now().Add(time.Hour))
	certtest.Write(t, certFile, cert)
	certtest.Write(t, keyFile, key)
	looks()
	is("third")
}

func TestWatch(t *testing.T) {
	a := certtest.NewAuthority(t)
	certFile, keyFile := a.Files("first")
	p, err := Load(certFile, keyFile, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	p.interval = time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); p.Watch(ctx) }()
	defer func() { cancel(); <-done }()
	cert, key := a.Pair("second", time.Now().Add(time.Hour))
	certtest.Write(t, certFile, cert)
	certtest.Write(t, keyFile, key)
	natstest.Eventually(t, wait, func() bool { return name(t, p, a) == "second" }, "the new pair is not taken")
}

// A handshake of both sides in one process: what a connection costs before it is one.
func BenchmarkHandshake(b *testing.B) {
	a := certtest.NewAuthority(b)
	certFile, keyFile := a.Files("edge")
	p, err := Load(certFile, keyFile, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	server := p.Config()
	for _, resumed := range []bool{false, true} {
		b.Run(fmt.Sprintf("resumed=%t", resumed), func(b *testing.B) {
			client := a.Client()
			if resumed {
				client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			}
			b.ReportAllocs()
			for b.Loop() {
				here, there := net.Pipe()
				done := make(chan error, 1)
				go func() {
					s := tls.Server(there, server)
					_, err := s.Write([]byte("x"))
					done <- err
				}()
				c := tls.Client(here, client)
				if _, err := c.Read(make([]byte, 1)); err != nil { // and the ticket before it
					b.Fatal(err)
				}
				if err := <-done; err != nil {
					b.Fatal(err)
				}
				_, _ = here.Close(), there.Close()
			}
		})
	}
}
