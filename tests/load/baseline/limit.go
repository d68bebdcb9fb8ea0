//go:build linux

package baseline

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// limit is what the kernel's writes cost and nothing beside: as many threads as there are cores, as the edge has buckets;
// each writes a ready frame to each of its sockets, one write(2) each, on plain file descriptors that are in no epoll. It
// never reads after the handshake and answers nothing: pongs and closes stay in the kernel.
//
//	payload -> frame -> loop 0: for each fd: write(fd, frame)
//	                 -> loop 1: …
type limit struct {
	loops []*loop
	next  atomic.Uint32 // loop of the next socket, mod their number
}

// loop is one thread and its sockets.
type loop struct {
	frames chan []byte

	mu  sync.Mutex
	fds []int
}

// handshakeTime is how long a client may take for its handshake.
const handshakeTime = 30 * time.Second

// ahead is how many frames may wait for a loop; at the rates of a run it holds none for long.
const ahead = 1024

func newLimit() *limit {
	l := &limit{}
	for range runtime.GOMAXPROCS(0) {
		o := &loop{frames: make(chan []byte, ahead)}
		l.loops = append(l.loops, o)
		go o.run()
	}
	return l
}

func (l *limit) serve(ln net.Listener) error {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		go func() {
			if err := l.handshake(conn.(*net.TCPConn)); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}()
	}
}

func (l *limit) broadcast(payload []byte) {
	f := frame(payload)
	for _, o := range l.loops {
		o.frames <- f
	}
}

// frame is a text frame that holds the payload.
func frame(payload []byte) []byte {
	const final, text, more16 = 0x80, 0x1, 126
	b := []byte{final | text}
	if len(payload) < more16 {
		b = append(b, byte(len(payload)))
	} else {
		b = binary.BigEndian.AppendUint16(append(b, more16), uint16(len(payload)))
	}
	return append(b, payload...)
}

// handshake answers a client and gives its socket to a loop. The descriptor is doubled and Go's closed, which takes the
// socket out of Go's epoll: each acknowledgement would wake it.
func (l *limit) handshake(conn *net.TCPConn) error {
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(handshakeTime)); err != nil {
		return fmt.Errorf("shake hands: %w", err)
	}
	r, err := http.ReadRequest(bufio.NewReaderSize(conn, 1024))
	if err != nil {
		return fmt.Errorf("shake hands: %w", err)
	}
	var answer bytes.Buffer
	answer.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ")
	answer.WriteString(accept(r.Header.Get("Sec-WebSocket-Key")))
	answer.WriteString("\r\n\r\n")
	if _, err := conn.Write(answer.Bytes()); err != nil {
		return fmt.Errorf("shake hands: %w", err)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("shake hands: %w", err)
	}
	double := -1
	if controlErr := raw.Control(func(fd uintptr) { double, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }); controlErr != nil {
		err = controlErr
	}
	if err != nil {
		return fmt.Errorf("take socket from Go: %w", err)
	}
	l.loops[int(l.next.Add(1))%len(l.loops)].add(double)
	return nil
}

// accept is Sec-WebSocket-Accept of RFC 6455, section 4.2.2.
func accept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func (o *loop) add(fd int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fds = append(o.fds, fd)
}

func (o *loop) run() {
	runtime.LockOSThread()
	for f := range o.frames {
		o.write(f)
	}
}

// write writes a frame to each socket and drops those that take no more.
func (o *loop) write(f []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	kept := o.fds[:0]
	for _, fd := range o.fds {
		if writeAll(fd, f) {
			kept = append(kept, fd)
		} else {
			_ = unix.Close(fd)
		}
	}
	o.fds = kept
}

// writeAll is one write(2), raw: the sockets are not blocking, so Go's scheduler need not hear of it. A socket that
// is full or gone is not this server's business: its crowd reads all.
func writeAll(fd int, f []byte) bool {
	n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(f))), uintptr(len(f)))
	return errno == 0 && int(n) == len(f)
}
