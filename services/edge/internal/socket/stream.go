package socket

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"
)

// Stream is a Conn that a goroutine reads, as a net.Conn for gws. gws calls Write under a lock of its own, so nothing of
// gws is called under ours.
type Stream struct {
	Conn
	*net.TCPConn
	rc      syscall.RawConn
	pre     []byte        // bytes that came with the handshake, read before the socket's
	drained chan struct{} // closed when the outbox empties; made by who waits
	armed   bool          // the poller has seen this socket
	lingers bool          // its reader has stopped
	in      rawRead
	secured *secured // nil: without TLS
}

// NewStream takes over nc, a *net.TCPConn or what NewTLS made of one. pre are bytes already read from it. Nothing of nc
// may be used any more, and no deadline may be left.
func NewStream(nc net.Conn, pre []byte, p *Poller, owner Owner) (*Stream, error) {
	s := &Stream{pre: pre}
	var line *Line
	switch c := nc.(type) {
	case *net.TCPConn:
		s.TCPConn = c
	case *tls.Conn:
		var ok bool
		if line, ok = c.NetConn().(*Line); !ok {
			return nil, fmt.Errorf("take over TLS: its connection is a %T", c.NetConn())
		}
		s.TCPConn, s.secured = line.TCPConn, &secured{tls: c, line: line}
	default:
		return nil, fmt.Errorf("take over connection: it is a %T", nc)
	}
	rc, err := s.SyscallConn()
	if err != nil {
		return nil, err
	}
	s.rc = rc
	s.owner, s.poller, s.stream = owner, p, s
	if err := rc.Control(func(fd uintptr) { s.fd = int32(fd); err = prepare(int(fd)) }); err != nil {
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	s.alive.Store(p.now())
	if line != nil {
		line.stream = s
	}
	return s, nil
}

// Read is called by the one reader.
func (s *Stream) Read(p []byte) (int, error) {
	if n := s.replay(p); n > 0 {
		return n, nil
	}
	if s.secured != nil {
		return s.readSecured(p)
	}
	n, err := s.in.read(s, p)
	return s.got(n, err)
}

func (s *Stream) readSecured(p []byte) (int, error) {
	n, err := s.secured.tls.Read(p)
	if s.await() {
		return 0, ErrClosed
	}
	return n, err
}

// readSocket reads what came, encrypted or not.
func (s *Stream) readSocket(p []byte) (int, error) { return s.got(s.in.read(s, p)) }

// got is not part of Read, which would need more stack for it (see rawRead).
//
//go:noinline
func (s *Stream) got(n int, err error) (int, error) {
	if n > 0 {
		s.alive.Store(s.poller.now())
	}
	if s.await() { // the outbox may have filled meanwhile, and a wake-up for End may find bytes that came after it
		return 0, ErrClosed
	}
	return n, err
}

// replay gives what came with the handshake, if anything is left of it.
func (s *Stream) replay(p []byte) int {
	s.await()
	s.mu.Lock()
	defer s.mu.Unlock()
	n := copy(p, s.pre)
	if s.pre = s.pre[n:]; len(s.pre) == 0 {
		s.pre = nil
	}
	return n
}

// await returns when the outbox is empty or the connection ends: true.
func (s *Stream) await() (closing bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.pendingLocked() && !s.closing {
		wait := s.waitLocked()
		s.mu.Unlock()
		<-wait
		s.mu.Lock()
	}
	return s.closing
}

func (s *Stream) waitLocked() chan struct{} {
	if s.drained == nil {
		s.drained = make(chan struct{})
	}
	return s.drained
}

func (s *Stream) wakeLocked() {
	if s.drained != nil {
		close(s.drained)
		s.drained = nil
	}
}

// endLocked stops the reader, which then calls Linger: the deadline is its own from there on. Never SetDeadline: an
// expired write deadline fails RawConn.Write.
func (s *Stream) endLocked() {
	if !s.lingers {
		_ = s.TCPConn.SetReadDeadline(time.Unix(1, 0))
	}
}

// Write takes what gws writes: the handshake's answer, and a close frame. It never blocks.
func (s *Stream) Write(p []byte) (int, error) {
	if err := s.Say(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// SetDeadline, SetReadDeadline and SetWriteDeadline do nothing: gws sets deadlines around its writes, ours never block,
// and a write deadline that expired would fail every later write.
func (s *Stream) SetDeadline(time.Time) error      { return nil }
func (s *Stream) SetReadDeadline(time.Time) error  { return nil }
func (s *Stream) SetWriteDeadline(time.Time) error { return nil }

// Close is called by gws. It only marks the connection; Linger closes it. gws would close at once, which can cut the
// last message off from a slow client, or answer late bytes of his with a reset that destroys it.
func (s *Stream) Close() error {
	s.mu.Lock()
	s.closing = true
	s.wakeLocked()
	s.mu.Unlock()
	return nil
}

// Linger ends the connection: what is in the outbox goes out, then the sending side is closed, then what still comes
// is dropped until the client closes too; two seconds at most. The reader calls it when it has stopped.
func (s *Stream) Linger() {
	deadline := time.Now().Add(lingerTime)
	timeout := time.NewTimer(lingerTime)
	defer timeout.Stop()
	s.mu.Lock()
	s.closing, s.lingers = true, true
	if s.secured != nil {
		s.secured.endLocked(&s.Conn)
	}
	if len(s.out) > 0 && !s.blocked {
		s.flushLocked()
	}
	for len(s.out) > 0 {
		wait := s.waitLocked()
		s.mu.Unlock()
		select {
		case <-wait:
			s.mu.Lock()
			continue
		case <-timeout.C:
		}
		s.mu.Lock()
		break
	}
	s.mu.Unlock()
	if s.TCPConn.CloseWrite() == nil && s.TCPConn.SetReadDeadline(deadline) == nil {
		_, _ = io.Copy(io.Discard, readerOnly{s.TCPConn})
	}
	s.forget()
	_ = s.TCPConn.Close()
}

// readerOnly hides TCPConn's WriteTo, so that io.Copy reads into its own small buffer.
type readerOnly struct{ io.Reader }

var _ net.Conn = (*Stream)(nil)
