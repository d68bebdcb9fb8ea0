package socket

import (
	"crypto/tls"
	"net"
	"sync"
	"time"
)

// Line is what a client's TLS stands on.
//
//	net/http: handshake, requests      tls.Conn ──► Line ──► socket, with deadlines
//	WebSocket                Stream ──► tls.Conn ──► Line ──► sealed ──► outbox ──► socket, never blocking
//
// As long as net/http has the connection a Line is the socket as it is, and deadlines end what takes too long. Once a
// Stream has it, deadlines do nothing, TLS reads what the Stream reads, and what TLS writes is kept for the Stream: a
// tls.Conn whose write fails half-way is broken for good, so its writes must not fail.
//
// Locks: TLS's for reading, Conn's, TLS's for writing, Line's, in this order. TLS also writes while it reads, the answer
// to a new key or an alert, and holds no lock of Conn's then: so Write must not take one.
type Line struct {
	*net.TCPConn
	stream *Stream // set once, between net/http's last use and the Stream's first

	mu     sync.Mutex
	sealed []byte // encrypted, and not in the outbox yet
}

// NewTLS is the server's side of TLS over an accepted socket.
func NewTLS(tcp *net.TCPConn, config *tls.Config) *tls.Conn {
	return tls.Server(&Line{TCPConn: tcp}, config)
}

func (l *Line) Read(p []byte) (int, error) {
	if l.stream == nil {
		return l.TCPConn.Read(p)
	}
	l.stream.push()
	if l.stream.await() {
		return 0, ErrClosed
	}
	return l.stream.readSocket(p)
}

func (l *Line) Write(p []byte) (int, error) {
	if l.stream == nil {
		return l.TCPConn.Write(p)
	}
	l.mu.Lock()
	l.sealed = append(l.sealed, p...)
	l.mu.Unlock()
	return len(p), nil
}

// SetDeadline, SetReadDeadline, SetWriteDeadline and Close are the socket's until a Stream has it.
func (l *Line) SetDeadline(t time.Time) error { return l.set(l.TCPConn.SetDeadline, t) }

func (l *Line) SetReadDeadline(t time.Time) error { return l.set(l.TCPConn.SetReadDeadline, t) }

func (l *Line) SetWriteDeadline(t time.Time) error { return l.set(l.TCPConn.SetWriteDeadline, t) }

func (l *Line) set(f func(time.Time) error, t time.Time) error {
	if l.stream != nil {
		return nil
	}
	return f(t)
}

func (l *Line) Close() error {
	if l.stream != nil {
		return nil
	}
	return l.TCPConn.Close()
}

// collect has TLS write to dst, behind what it has written already.
func (l *Line) collect(dst []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sealed = append(dst, l.sealed...)
}

// take gives what TLS has written.
func (l *Line) take() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.sealed
	l.sealed = nil
	return p
}

// secured is the part of a Stream that speaks TLS. Its fields are under Conn's mutex.
//
// What has been encrypted must be sent: the client's TLS would notice if anything were missing. So nothing is encrypted
// before the kernel has sent all there was, or a slow client would be kept on old ticks. Meanwhile answers wait in plain,
// and ticks stay their owner's.
type secured struct {
	tls   *tls.Conn
	line  *Line
	plain []byte // answers that are not encrypted yet
}

// seal appends p, encrypted, to dst, behind what TLS has to say by itself.
func (t *secured) seal(dst, p []byte) ([]byte, error) {
	t.line.collect(dst)
	_, err := t.tls.Write(p)
	return t.line.take(), err
}

// sayLocked is Conn's. An answer is never taken back, so it need not wait for what the kernel has not sent.
func (t *secured) sayLocked(c *Conn, frame []byte, last bool) error {
	if c.blocked || c.pendingLocked() {
		if len(t.plain)+len(frame) > MaxOutbox && !last {
			return ErrFull
		}
		t.plain = append(t.plain, frame...)
		c.blockLocked()
		return nil
	}
	p, err := t.seal(nil, frame)
	if err == nil {
		var raw rawWrite
		_, err = t.sendLocked(c, &raw, p)
	}
	if err != nil {
		c.breakLocked()
	}
	return err
}

// writeLocked is WriteFrames: the rest of what was encrypted, and when the kernel has sent that, answers and frames, all
// of them or none.
func (t *secured) writeLocked(c *Conn, f *Flush) (r Result, err error) {
	if len(c.out) > 0 {
		out := c.out
		c.out = nil
		if r.Bytes, err = t.sendLocked(c, &f.raw, out); err != nil || c.blocked {
			r.Blocked = err == nil
			return r, err
		}
	}
	p := f.Frames
	if len(t.plain) > 0 {
		f.joined = append(append(f.joined[:0], t.plain...), p...)
		p = f.joined
	}
	if len(p) == 0 {
		return r, nil
	}
	sent, err := f.raw.sent(c)
	if err == nil && !sent {
		c.blockLocked()
		r.Blocked = true
		return r, nil
	}
	if err == nil {
		f.sealed, err = t.seal(f.sealed[:0], p)
	}
	t.plain = nil
	if err != nil {
		c.breakLocked()
		return Result{}, err
	}
	n, err := t.sendLocked(c, &f.raw, f.sealed)
	if err != nil {
		return Result{}, err
	}
	return Result{Sent: len(f.Ends), Bytes: r.Bytes + n, Blocked: c.blocked}, nil
}

// sendLocked sends encrypted bytes while the outbox is empty. What the kernel does not take is in the outbox then.
func (t *secured) sendLocked(c *Conn, raw *rawWrite, p []byte) (n int, err error) {
	if n, err = raw.write(c, p); err != nil {
		c.breakLocked()
		return 0, err
	}
	if n < len(p) {
		c.out = append([]byte(nil), p[n:]...)
		c.blockLocked()
	} else if len(t.plain) == 0 {
		c.wakeLocked()
	}
	return n, nil
}

// endLocked has the outbox hold the last bytes: answers, and that nothing follows. Nobody writes afterwards.
func (t *secured) endLocked(c *Conn) {
	if c.broken {
		return
	}
	if len(t.plain) > 0 {
		c.out, _ = t.seal(c.out, t.plain) // when TLS has failed its alert is all there is to send
		t.plain = nil
	}
	_ = t.tls.CloseWrite()
	c.out = append(c.out, t.line.take()...)
}

// push sends what TLS has to say by itself.
func (s *Stream) push() {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.secured.line.take()
	switch {
	case len(p) == 0 || s.broken:
	case len(s.out) > 0 || s.blocked:
		s.out = append(s.out, p...)
		s.blockLocked()
	default:
		var raw rawWrite
		_, _ = s.secured.sendLocked(&s.Conn, &raw, p) // if it fails the connection ends
	}
}
