//go:build !linux

package socket

import (
	"errors"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func prepare(int) error { return nil }

// rawWrite is write(2) on the non-blocking descriptor inside RawConn.Write.
type rawWrite struct {
	p   []byte
	n   int
	err error
	f   func(fd uintptr) bool
}

// write gives what the kernel took; a refusal is 0 and no error.
func (w *rawWrite) write(c *Conn, p []byte) (int, error) {
	if w.f == nil {
		w.f = func(fd uintptr) bool {
			for {
				n, err := syscall.Write(int(fd), w.p)
				switch {
				case err == nil:
					w.n, w.err = n, nil
				case errors.Is(err, syscall.EINTR):
					continue
				case errors.Is(err, syscall.EAGAIN):
					w.n, w.err = 0, nil
				default:
					w.n, w.err = 0, err
				}
				return true
			}
		}
	}
	w.p = p
	err := c.stream.rc.Write(w.f)
	w.p = nil
	if err != nil {
		return 0, err
	}
	return w.n, w.err
}

// sent is Linux's: elsewhere the kernel is asked by writing.
func (w *rawWrite) sent(*Conn) (bool, error) { return true, nil }

type rawRead struct{}

func (*rawRead) read(s *Stream, p []byte) (int, error) { return s.TCPConn.Read(p) }

// Poller waits for each refused socket in a goroutine of its own. That goroutine holds the descriptor's write lock, so
// nobody else may call RawConn.Write meanwhile: Conn.blocked sees to it.
type Poller struct {
	wg  sync.WaitGroup
	now func() int64
}

// NewPoller makes a poller; Close waits for its goroutines, which end when their sockets are closed. now is a monotonic
// clock in nanoseconds.
func NewPoller(now func() int64) (*Poller, error) { return &Poller{now: now}, nil }

// Hurry has nothing to end: net/http reads the handshakes.
func (*Poller) Hurry(time.Duration) {}

// Close waits until no socket uses the poller any more.
func (p *Poller) Close() { p.wg.Wait() }

func (c *Conn) armLocked() {
	c.poller.wg.Go(func() {
		// The kernel is asked first: what became of the socket since it refused is not told again.
		err := c.stream.rc.Write(func(fd uintptr) bool {
			ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
			n, err := unix.Poll(ready, 0)
			return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
		})
		if err == nil {
			c.ready()
		}
	})
}

func (s *Stream) forget() {}

// reading is empty: a goroutine reads.
type reading struct{}

func (*Conn) resumeLocked() {}
func (*Conn) finishLocked() {}
