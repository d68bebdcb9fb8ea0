package certificate

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// look is how often the files are read. A new pair is taken when it has been the same twice, so that files that are being
// written, one after the other, are no fault.
const look = 2 * time.Second

// Pair is a certificate and its key, out of two PEM files.
type Pair struct {
	certFile, keyFile string
	log               *slog.Logger
	interval          time.Duration
	current           atomic.Pointer[tls.Certificate]

	tried, seen content // the watcher's: what was last taken or refused; what the last look found
}

// content is what the files hold.
type content struct {
	cert, key []byte
	err       error
}

func (c content) equal(d content) bool {
	return bytes.Equal(c.cert, d.cert) && bytes.Equal(c.key, d.key) && fmt.Sprint(c.err) == fmt.Sprint(d.err)
}

// Load reads the pair. Its errors name the flag and the file at fault and say what is wrong with it; none holds anything
// of the key.
func Load(certFile, keyFile string, log *slog.Logger) (*Pair, error) {
	p := &Pair{certFile: certFile, keyFile: keyFile, log: log, interval: look}
	p.tried = p.read()
	cert, err := p.parse(p.tried)
	if err != nil {
		return nil, err
	}
	p.use(cert)
	return p, nil
}

// Config is for a server that always uses the newest pair.
func (p *Pair) Config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"}, // a WebSocket of HTTP/2 is another protocol
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return p.current.Load(), nil },
		// Go would begin with records of one packet each, for pages that are shown as they come. Ours are messages of which
		// none is of use before it is whole, and small records cost bytes and time.
		DynamicRecordSizingDisabled: true,
	}
}

// Watch takes new pairs until ctx ends.
func (p *Pair) Watch(ctx context.Context) {
	t := time.NewTicker(p.interval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			p.look()
		}
	}
}

// look takes what the files hold if it is new, whole and not just being written.
func (p *Pair) look() {
	now := p.read()
	settled := now.equal(p.seen)
	p.seen = now
	if !settled || now.equal(p.tried) {
		return
	}
	p.tried = now
	cert, err := p.parse(now)
	if err != nil {
		p.log.Error("new certificate is not taken; the old one stays in use", "error", err, "not_after", p.current.Load().Leaf.NotAfter)
		return
	}
	p.use(cert)
}

func (p *Pair) read() (c content) {
	var certErr, keyErr error
	c.cert, certErr = readFile("--tls-cert", p.certFile)
	c.key, keyErr = readFile("--tls-key", p.keyFile)
	c.err = errors.Join(certErr, keyErr)
	return c
}

func readFile(flag, name string) ([]byte, error) {
	b, err := os.ReadFile(name)
	if pathError := (*fs.PathError)(nil); errors.As(err, &pathError) {
		err = pathError.Err
	}
	if err != nil {
		return nil, fmt.Errorf("%s %q: %w", flag, name, err)
	}
	return b, nil
}

// parse says which of the two is wrong, which package tls leaves open.
func (p *Pair) parse(c content) (*tls.Certificate, error) {
	if c.err != nil {
		return nil, c.err
	}
	cert, err := tls.X509KeyPair(c.cert, c.key)
	if err == nil {
		return &cert, nil
	}
	var faults []error
	if fault := checkCertificate(c.cert); fault != nil {
		faults = append(faults, fmt.Errorf("--tls-cert %q: %w", p.certFile, fault))
	}
	if fault := checkKey(c.key); fault != nil {
		faults = append(faults, fmt.Errorf("--tls-key %q: %w", p.keyFile, fault))
	}
	if len(faults) == 0 {
		faults = append(faults, fmt.Errorf("--tls-cert %q, --tls-key %q: %w", p.certFile, p.keyFile, err))
	}
	return nil, errors.Join(faults...)
}

func checkCertificate(p []byte) error {
	for block, rest := pem.Decode(p); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			_, err := x509.ParseCertificate(block.Bytes)
			return err
		}
	}
	return errors.New("no certificate in PEM in it (BEGIN CERTIFICATE)")
}

func checkKey(p []byte) error {
	for block, rest := pem.Decode(p); block != nil; block, rest = pem.Decode(rest) {
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
			return errors.New("the key is encrypted; there is nobody to ask for its password")
		case block.Type == "PRIVATE KEY" || block.Type == "RSA PRIVATE KEY" || block.Type == "EC PRIVATE KEY":
			return nil
		}
	}
	return errors.New("no private key in PEM in it (BEGIN PRIVATE KEY)")
}

func (p *Pair) use(cert *tls.Certificate) {
	p.current.Store(cert)
	leaf := cert.Leaf
	log := p.log.With("subject", leaf.Subject.String(), "names", leaf.DNSNames, "not_after", leaf.NotAfter)
	switch now := time.Now(); {
	case now.After(leaf.NotAfter):
		log.Warn("certificate has expired; clients refuse it")
	case now.Before(leaf.NotBefore):
		log.Warn("certificate is not valid yet; clients refuse it", "not_before", leaf.NotBefore)
	default:
		log.Info("certificate in use")
	}
}
