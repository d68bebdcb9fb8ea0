package socket

import (
	"errors"
	"sync"
	"sync/atomic"
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

// Owner is told by another goroutine whenever a refused socket can take bytes again.
type Owner interface{ Writable() }

// Conn is one connection. Every write goes through one mutex.
//
// While the outbox holds anything, nothing is read: a client that floods and does not read stops himself.
type Conn struct {
	alive  atomic.Int64 // when the client last gave a sign of life, the poller's clock
	stream *Stream      // who reads it in a goroutine; nil: the poller does

	// With what is above all that a write needs, in one line of the cache.
	mu      sync.Mutex
	out     []byte // outbox: the rest of a cut frame, then answers and control frames; with TLS: what is encrypted
	fd      int32  // -1 when closed; used only under mu or by the poller's loop
	blocked bool   // the kernel refused bytes; the poller will tell
	closing bool   // a close frame was written or queued, or the socket is broken
	broken  bool   // a write failed

	owner  Owner
	poller *Poller

	reading // the poller's part
}

// Alive is when bytes last came from the client, or it acknowledged some that the kernel had held back.
func (c *Conn) Alive() int64 { return c.alive.Load() }

// Closing tells whether the connection ends: what has been received is not looked at any more.
func (c *Conn) Closing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing
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
	if err := c.putLocked(frame, last); err != nil {
		return err
	}
	if last {
		c.closing = true
		c.wakeLocked()
	}
	return nil
}

// putLocked sends a frame or has it wait.
func (c *Conn) putLocked(frame []byte, last bool) error {
	if t := c.secured(); t != nil {
		return t.sayLocked(c, frame, last)
	}
	if (c.blocked || len(c.out) > 0) && len(c.out)+len(frame) > MaxOutbox && !last {
		return ErrFull
	}
	p, n := frame, 0
	if len(c.out) > 0 {
		c.out = append(c.out, frame...)
		p = c.out
	}
	if !c.blocked { // blocked has to mean that the kernel refused: else it would never tell that it takes bytes again
		var err error
		var raw rawWrite
		if n, err = raw.write(c, p); err != nil {
			c.breakLocked()
			return err
		}
	}
	if n < len(p) {
		c.out = append(c.out[:0], p[n:]...)
		c.blockLocked()
	} else if c.out != nil {
		c.out = nil
		c.wakeLocked()
	}
	return nil
}

// secured is the connection's TLS; nil: it has none.
func (c *Conn) secured() *secured {
	if c.stream == nil {
		return nil
	}
	return c.stream.secured
}

// pendingLocked tells whether anything waits to be sent before ticks.
func (c *Conn) pendingLocked() bool {
	if t := c.secured(); t != nil && len(t.plain) > 0 {
		return true
	}
	return len(c.out) > 0
}

// SayIfIdle is Say for a frame that is worth nothing to a client with a full pipe (a ping): false, it is left out then.
func (c *Conn) SayIfIdle(frame []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.blocked || c.pendingLocked() {
		return false
	}
	if c.secured() != nil { // a socket without TLS would refuse it
		var raw rawWrite
		if sent, err := raw.sent(c); err != nil || !sent {
			return false
		}
	}
	return c.sayLocked(frame) == nil
}

// End writes a close frame as the last one. What the client still sends is dropped until it closes too; two seconds at
// most.
func (c *Conn) End(closeFrame []byte) {
	_ = c.Say(closeFrame)
	c.Finish()
}

// Finish ends the connection once the outbox is out, as End does.
func (c *Conn) Finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing = true
	c.wakeLocked()
	c.endLocked()
}

// Flush is what a worker needs to write; each worker has one, so that no write allocates.
type Flush struct {
	Frames []byte  // ready frames, one after the other
	Ends   []int32 // where each frame ends in Frames
	joined []byte  // outbox and Frames, when both have bytes
	sealed []byte  // the same, encrypted
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
	Blocked bool // the socket takes no more for now; Writable will be called
}

// WriteFrames writes the outbox and f's frames in one system call. What the kernel does not take stays the caller's,
// except the rest of a frame that was cut: the client has its beginning, so its end has to come first next time. With TLS
// that is the rest of all frames.
func (c *Conn) WriteFrames(f *Flush) (Result, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closing:
		return Result{}, ErrClosed
	case c.blocked:
		return Result{Blocked: true}, nil
	}
	if t := c.secured(); t != nil {
		return t.writeLocked(c, f)
	}
	p, base := f.Frames, len(c.out)
	if base > 0 {
		f.joined = append(append(f.joined[:0], c.out...), f.Frames...)
		p = f.joined
	}
	if len(p) == 0 {
		return Result{}, nil
	}
	n, err := f.raw.write(c, p)
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

func (c *Conn) blockLocked() {
	if !c.blocked {
		c.blocked = true
		c.armLocked()
	}
}

// breakLocked ends a socket that a write failed on. The reader sees it and cleans up.
func (c *Conn) breakLocked() {
	c.closing, c.broken = true, true
	c.out = nil
	if t := c.secured(); t != nil {
		t.plain = nil
	}
	c.wakeLocked()
	c.endLocked()
}

// wakeLocked lets the reader go on: the outbox is empty, or nothing will be read any more.
func (c *Conn) wakeLocked() {
	if c.stream != nil {
		c.stream.wakeLocked()
	} else {
		c.resumeLocked()
	}
}

// endLocked has the reader end the connection.
func (c *Conn) endLocked() {
	if c.stream != nil {
		c.stream.endLocked()
	} else {
		c.finishLocked()
	}
}

// ready is called by the poller when a refused socket can take bytes again.
func (c *Conn) ready() {
	c.mu.Lock()
	if !c.blocked {
		c.mu.Unlock()
		return
	}
	c.alive.Store(c.poller.now())
	c.blocked = false
	if c.closing { // no worker looks after it any more
		c.flushLocked()
		c.mu.Unlock()
		return
	}
	owner := c.owner
	c.mu.Unlock()
	owner.Writable()
}

func (c *Conn) flushLocked() {
	var raw rawWrite
	n, err := raw.write(c, c.out)
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
