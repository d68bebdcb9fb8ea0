package socket

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// MaxOutbox is how many bytes of answers and control frames wait for a client that does not read.
const MaxOutbox = 64 << 10

// lingerTime is how long an ending connection may take to read what was said to it last.
const lingerTime = 2 * time.Second

// opClose is the first byte of a close frame. Nothing is written after one.
const opClose = 0x88

// Errors of Say and WriteFrames.
var (
	ErrClosed = errors.New("socket is closing")
	ErrFull   = errors.New("outbox is full")
)

// Conn is a net.Conn for gws and the write path for a worker. Every write goes through one mutex, under which nothing
// of gws is called (gws calls Write under a lock of its own).
//
// While the outbox holds anything, Read does not read on: a client that floods and does not read stops himself.
type Conn struct {
	*net.TCPConn
	rc       syscall.RawConn
	poller   *Poller
	writable func() // told when a refused socket can be written to again

	alive atomic.Int64 // when the client last gave a sign of life, monotonic nanoseconds, by now()
	now   func() int64

	mu      sync.Mutex
	pre     []byte        // bytes that came with the handshake, read before the socket's
	out     []byte        // outbox: the rest of a cut frame, then answers and control frames
	drained chan struct{} // closed when the outbox empties; made by who waits
	blocked bool          // the kernel refused bytes; the poller will tell
	closing bool          // a close frame was written or queued, or the socket is broken
	armed   bool          // the poller has seen this socket
	fd      int           // only a key for the poller; used nowhere outside RawConn
}

// New takes over c. pre are bytes already read from it. writable is called from another goroutine whenever a refused
// socket can take bytes again; now is a monotonic clock in nanoseconds.
func New(c *net.TCPConn, pre []byte, p *Poller, writable func(), now func() int64) (*Conn, error) {
	rc, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &Conn{TCPConn: c, rc: rc, poller: p, writable: writable, now: now, pre: pre}
	if err := rc.Control(func(fd uintptr) { s.fd = int(fd); err = prepare(int(fd)) }); err != nil {
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	s.alive.Store(now())
	return s, nil
}

// Alive is when bytes last came from the client, or it acknowledged some that the kernel had held back.
func (c *Conn) Alive() int64 { return c.alive.Load() }

// Read is called by the one reader.
func (c *Conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	for len(c.out) > 0 && !c.closing {
		wait := c.waitLocked()
		c.mu.Unlock()
		<-wait
		c.mu.Lock()
	}
	if len(c.pre) > 0 {
		n := copy(p, c.pre)
		if c.pre = c.pre[n:]; len(c.pre) == 0 {
			c.pre = nil
		}
		c.mu.Unlock()
		return n, nil
	}
	c.mu.Unlock()
	n, err := c.TCPConn.Read(p)
	if n > 0 {
		c.alive.Store(c.now())
	}
	return n, err
}

func (c *Conn) waitLocked() chan struct{} {
	if c.drained == nil {
		c.drained = make(chan struct{})
	}
	return c.drained
}

func (c *Conn) wakeLocked() {
	if c.drained != nil {
		close(c.drained)
		c.drained = nil
	}
}

// Write takes what gws writes: the handshake's answer, and a close frame. It never blocks.
func (c *Conn) Write(p []byte) (int, error) {
	if err := c.Say(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Say writes a whole frame ahead of any tick, now or when the socket can take it.
func (c *Conn) Say(frame []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sayLocked(frame)
}

func (c *Conn) sayLocked(frame []byte) error {
	if c.closing {
		return ErrClosed
	}
	last := len(frame) > 0 && frame[0] == opClose
	n := 0
	if len(c.out) == 0 && !c.blocked {
		var err error
		if n, err = c.send(frame); err != nil {
			c.breakLocked()
			return err
		}
	} else if len(c.out)+len(frame) > MaxOutbox && !last {
		return ErrFull
	}
	if n < len(frame) {
		c.out = append(c.out, frame[n:]...)
		c.blockLocked()
	}
	if last {
		c.closing = true
		c.wakeLocked()
	}
	return nil
}

// SayIfIdle is Say for a frame that is worth nothing to a client with a full pipe (a ping): false, it is left out then.
func (c *Conn) SayIfIdle(frame []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.blocked && len(c.out) == 0 && c.sayLocked(frame) == nil
}

// End writes a close frame as the last one and stops the reader, which then calls Linger.
func (c *Conn) End(closeFrame []byte) {
	_ = c.Say(closeFrame)
	_ = c.TCPConn.SetReadDeadline(time.Unix(1, 0)) // never SetDeadline: an expired write deadline fails RawConn.Write
}

// Flush is what a worker needs to write; each worker has one, so that no write allocates.
type Flush struct {
	Frames []byte  // ready frames, one after the other
	Ends   []int32 // where each frame ends in Frames
	joined []byte  // outbox and Frames, when both have bytes
	raw    rawWrite
}

// Reset empties f for the next connection and keeps its memory.
func (f *Flush) Reset() {
	f.Frames, f.Ends = f.Frames[:0], f.Ends[:0]
}

// Result of a WriteFrames.
type Result struct {
	Sent    int  // frames that are gone for good: taken whole, or begun with the rest kept in the outbox
	Bytes   int  // bytes that the kernel took
	Blocked bool // the socket takes no more for now; writable will be called
}

// WriteFrames writes the outbox and f's frames in one system call. What the kernel does not take stays the caller's,
// except the rest of a frame that was cut: the client has its beginning, so its end has to come first next time.
func (c *Conn) WriteFrames(f *Flush) (Result, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closing:
		return Result{}, ErrClosed
	case c.blocked:
		return Result{Blocked: true}, nil
	}
	p, base := f.Frames, len(c.out)
	if base > 0 {
		f.joined = append(append(f.joined[:0], c.out...), f.Frames...)
		p = f.joined
	}
	if len(p) == 0 {
		return Result{}, nil
	}
	n, err := f.raw.write(c.rc, p)
	if err != nil {
		c.breakLocked()
		return Result{}, err
	}
	if n == len(p) {
		if base > 0 {
			c.out = nil
			c.wakeLocked()
		}
		return Result{Sent: len(f.Ends), Bytes: n}, nil
	}
	sent := c.keepLocked(f, n, base)
	c.blockLocked()
	return Result{Sent: sent, Bytes: n, Blocked: true}, nil
}

// keepLocked keeps in the outbox what must follow the n bytes that the kernel took of outbox (base bytes) and frames.
func (c *Conn) keepLocked(f *Flush, n, base int) (sent int) {
	if n < base {
		c.out = append(c.out[:0], c.out[n:]...)
		return 0
	}
	n -= base
	c.out = nil
	start := 0
	for _, end := range f.Ends {
		if int(end) > n {
			if n > start {
				c.out = append(c.out, f.Frames[n:end]...)
				sent++
			}
			break
		}
		sent++
		start = int(end)
	}
	if len(c.out) == 0 {
		c.wakeLocked()
	}
	return sent
}

func (c *Conn) send(p []byte) (int, error) {
	var raw rawWrite
	return raw.write(c.rc, p)
}

func (c *Conn) blockLocked() {
	if !c.blocked {
		c.blocked = true
		c.poller.arm(c)
	}
}

// breakLocked ends a socket that a write failed on. The reader sees it and cleans up.
func (c *Conn) breakLocked() {
	c.closing = true
	c.out = nil
	c.wakeLocked()
	_ = c.TCPConn.SetReadDeadline(time.Unix(1, 0))
}

// ready is called by the poller when a refused socket can take bytes again.
func (c *Conn) ready() {
	c.alive.Store(c.now())
	c.mu.Lock()
	c.blocked = false
	if c.closing { // no worker looks after it any more
		c.flushLocked()
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()
	c.writable()
}

func (c *Conn) flushLocked() {
	n, err := c.send(c.out)
	if err != nil {
		n = len(c.out)
	}
	if c.out = c.out[n:]; len(c.out) > 0 {
		c.blockLocked()
		return
	}
	c.out = nil
	c.wakeLocked()
}

// SetDeadline, SetReadDeadline and SetWriteDeadline do nothing: gws sets deadlines around its writes, ours never block,
// and a write deadline that expired would fail every later write.
func (c *Conn) SetDeadline(time.Time) error      { return nil }
func (c *Conn) SetReadDeadline(time.Time) error  { return nil }
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }

// Close is called by gws. It only marks the connection; Linger closes it. gws would close at once, which can cut the
// last message off from a slow client, or answer late bytes of his with a reset that destroys it.
func (c *Conn) Close() error {
	c.mu.Lock()
	c.closing = true
	c.wakeLocked()
	c.mu.Unlock()
	return nil
}

// Linger ends the connection: what is in the outbox goes out, then the sending side is closed, then what still comes
// is dropped until the client closes too; two seconds at most. The reader calls it when it has stopped.
func (c *Conn) Linger() {
	deadline := time.Now().Add(lingerTime)
	timeout := time.NewTimer(lingerTime)
	defer timeout.Stop()
	c.mu.Lock()
	c.closing = true
	if len(c.out) > 0 && !c.blocked {
		c.flushLocked()
	}
	for len(c.out) > 0 {
		wait := c.waitLocked()
		c.mu.Unlock()
		select {
		case <-wait:
			c.mu.Lock()
			continue
		case <-timeout.C:
		}
		c.mu.Lock()
		break
	}
	c.mu.Unlock()
	if c.TCPConn.CloseWrite() == nil && c.TCPConn.SetReadDeadline(deadline) == nil {
		_, _ = io.Copy(io.Discard, readerOnly{c.TCPConn})
	}
	c.poller.forget(c)
	_ = c.TCPConn.Close()
}

// readerOnly hides TCPConn's WriteTo, so that io.Copy reads into its own small buffer.
type readerOnly struct{ io.Reader }
