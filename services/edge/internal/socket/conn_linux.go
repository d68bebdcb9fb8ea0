package socket

import (
	"io"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// prepare sets TCP_NOTSENT_LOWAT to 1: the kernel takes a flush only when nothing unsent is left, so that a slow client
// has at most one flush of older values in front of the newest (measured: 2-8 KB a stalled client, 700 KB without).
// SO_SNDBUF stays alone: a small one caps the throughput over a long way.
func prepare(fd int) error {
	return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, 1)
}

// Remote is the address of a client that a poller reads, host:port; empty when he is gone.
func (c *Conn) Remote() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return ""
	}
	peer, _ := unix.Getpeername(int(c.fd)) // fails where he is gone
	switch sa := peer.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)).String()
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port)).String()
	}
	return ""
}

// rawWrite is one sendto. For a Stream it happens inside RawConn.Write; f is that one's closure, so that a worker needs
// one in its life and no write allocates.
type rawWrite struct {
	p   []byte
	ask bool // how much is unsent, rather than write p
	n   int
	err error
	f   func(fd uintptr) bool
}

// write gives what the kernel took; a refusal is 0 and no error. c.mu is held.
func (w *rawWrite) write(c *Conn, p []byte) (int, error) {
	if c.stream == nil {
		return send(uintptr(c.fd), p) // under c.mu nobody closes it
	}
	return w.do(c.stream, p, false)
}

// sent tells whether the kernel has sent all that a Stream gave it: it would take more.
func (w *rawWrite) sent(c *Conn) (bool, error) {
	n, err := w.do(c.stream, nil, true)
	return n == 0, err
}

func (w *rawWrite) do(s *Stream, p []byte, ask bool) (int, error) {
	if w.f == nil {
		w.f = func(fd uintptr) bool {
			if w.ask {
				w.n, w.err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQNSD)
			} else {
				w.n, w.err = send(fd, w.p)
			}
			return true
		}
	}
	w.p, w.ask = p, ask
	err := s.rc.Write(w.f)
	w.p = nil
	if err != nil {
		return 0, err
	}
	return w.n, w.err
}

// send is sendto rather than write(2), by RawSyscall: 15 % less CPU a write, and the flags come for free. The call cannot
// block (MSG_DONTWAIT), so the scheduler need not know. MSG_EOR keeps the kernel from merging this flush with the next
// into one skb, which would hold 45-52 KB a stalled client.
func send(fd uintptr, p []byte) (int, error) {
	for {
		r, _, e := unix.RawSyscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
			unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL|unix.MSG_EOR, 0, 0)
		runtime.KeepAlive(p)
		switch e {
		case 0:
			return int(r), nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, nil
		default:
			return 0, e
		}
	}
}

// rawRead is readNow inside RawConn.Read. net.TCPConn.Read does the same in a third more of stack, which is what the
// wait for bytes has too much of otherwise (see websocket's stream), and tells the scheduler of each read.
type rawRead struct {
	p     []byte
	n     int
	errno syscall.Errno
	f     func(fd uintptr) bool
}

func (r *rawRead) read(s *Stream, p []byte) (int, error) {
	if r.f == nil {
		r.f = r.look
	}
	r.p = p
	err := s.rc.Read(r.f)
	r.p = nil
	switch {
	case err != nil:
		return 0, err
	case r.errno != 0:
		return 0, os.NewSyscallError("read", r.errno)
	case r.n == 0 && len(p) > 0:
		return 0, io.EOF
	}
	return r.n, nil
}

// look tells whether the wait is over.
func (r *rawRead) look(fd uintptr) bool {
	for {
		r.n, r.errno = readNow(int32(fd), r.p)
		if r.errno != unix.EINTR {
			return r.errno != unix.EAGAIN
		}
	}
}

// readNow is read(2) of a non-blocking descriptor, so the scheduler need not know either.
func readNow(fd int32, p []byte) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	runtime.KeepAlive(p)
	return int(n), errno
}

// epollNow gives what has happened, and does not wait.
func epollNow(epfd int, events []unix.EpollEvent) int {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epfd), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), 0, 0, 0)
		runtime.KeepAlive(events)
		if errno == 0 {
			return int(n)
		}
		if errno != unix.EINTR {
			return 0
		}
	}
}
