package front

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/services/edge/internal/socket"
)

// accept takes connections and has the pollers read their handshakes. Those that turn out to be plain HTTP come out of ln.
func (f *Front) accept() (ln net.Listener, stop func(), err error) {
	plain := &listener{addr: f.o.Listener.Addr(), conns: make(chan net.Conn), done: make(chan struct{})}
	file, err := f.o.Listener.(*net.TCPListener).File() // package net reads from no listener for others
	if err != nil {
		return nil, nil, err
	}
	rc, err := file.SyscallConn()
	if err == nil {
		// What is said leaves at once, as package net has it. Connections inherit it, which saves a system call each.
		cerr := rc.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) })
		err = errors.Join(err, cerr)
	}
	if err != nil {
		_ = file.Close()
		return nil, nil, err
	}
	var wg sync.WaitGroup
	wg.Go(func() { f.take(rc, &handshakes{f: f, plain: plain}) })
	return plain, func() {
		_ = f.o.Listener.Close()
		_ = file.Close()
		wg.Wait()
	}, nil
}

// take hands connections to the pollers until the listener is closed. Their descriptors never are in Go's own poller:
// nothing is registered and allocated there for them.
func (f *Front) take(listener syscall.RawConn, h *handshakes) {
	for {
		var fd int
		var errno error
		if listener.Read(func(lfd uintptr) bool {
			fd, _, errno = unix.Accept4(int(lfd), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			return errno != unix.EAGAIN
		}) != nil {
			return
		}
		switch errno {
		case nil:
			f.arrived()
			if f.o.Pollers.Next().Adopt(fd, h, f.o.RequestTime) != nil {
				f.conns.Add(-1)
			}
			if !f.wait() {
				return
			}
		case unix.ECONNABORTED, unix.EINTR:
		default:
			f.log.Warn("accept", "no more connections can be accepted now; they wait", "error", os.NewSyscallError("accept4", errno))
			if !f.pause() {
				return
			}
		}
	}
}

// handshakes reads requests. One serves all connections: until a request is whole its bytes stay with its connection.
type handshakes struct {
	f       *Front
	plain   *listener
	readers sync.Pool
}

func (h *handshakes) Writable() {}

func (h *handshakes) Gone(*socket.Conn) { h.f.conns.Add(-1) }

func (h *handshakes) Received(c *socket.Conn, p []byte) (used int) {
	end := headEnd(p)
	if end == 0 && len(p) < maxHeader {
		return 0
	}
	r := h.request(p[:end])
	if r == nil {
		h.handOver(c, p)
		return 0
	}
	if r.Header.Get("Origin") != "" { // who is refused for that is logged; of all others it is not worth a system call
		r.RemoteAddr = c.Remote()
	}
	w := &response{conn: c, header: http.Header{}}
	h.f.ServeHTTP(w, r)
	if w.taken {
		h.f.conns.Add(-1)
		return end
	}
	w.finish()
	return len(p)
}

// headEnd is where the head of a request ends; 0: it is not whole. A line may end without CR, as net/http has it.
func headEnd(p []byte) int {
	for at := 0; ; {
		i := bytes.IndexByte(p[at:], '\n')
		if i < 0 {
			return 0
		}
		at += i + 1
		switch rest := p[at:]; {
		case len(rest) > 0 && rest[0] == '\n':
			return at + 1
		case len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n':
			return at + 2
		}
	}
}

// request reads the head of a request for a WebSocket; nil: it is another, or none. Others may take their time to answer,
// and the poller has thousands to serve.
func (h *handshakes) request(head []byte) *http.Request {
	src := bytes.NewReader(head)
	br, ok := h.readers.Get().(*bufio.Reader)
	if !ok {
		br = bufio.NewReaderSize(nil, 4096)
	}
	br.Reset(src)
	r, err := http.ReadRequest(br)
	br.Reset(nil)
	h.readers.Put(br)
	if err != nil || r.Method != http.MethodGet || r.URL.Path != session.PathWS || r.Header.Get("Upgrade") == "" || r.ContentLength != 0 {
		return nil
	}
	return r
}

// handOver gives the connection to net/http, with what was read of it.
func (h *handshakes) handOver(c *socket.Conn, p []byte) {
	p = slices.Clone(p)
	remote := c.Remote()
	file := os.NewFile(uintptr(c.Detach()), "client")
	nc, err := net.FileConn(file) // a duplicate, in Go's poller
	_ = file.Close()
	h.f.conns.Add(-1) // net/http counts it from here
	if err != nil {
		h.f.log.Warn("client", "connection lost before its first request", "remote", remote, "error", err)
		return
	}
	go h.plain.push(&replay{Conn: nc, pre: p})
}

// replay is a connection of which bytes have been read already.
type replay struct {
	net.Conn
	pre []byte
}

func (r *replay) Read(p []byte) (int, error) {
	if len(r.pre) > 0 {
		n := copy(p, r.pre)
		r.pre = r.pre[n:]
		return n, nil
	}
	return r.Conn.Read(p)
}

// CloseWrite is what net/http ends a connection with on which the client still speaks: an answer that is followed by a
// reset may never be read.
func (r *replay) CloseWrite() error { return r.Conn.(*net.TCPConn).CloseWrite() }

// Unwrap gives the connection itself, and what of the bytes read has not been read again.
func (r *replay) Unwrap() (net.Conn, []byte) { return r.Conn, r.pre }

// listener gives net/http the connections that are its.
type listener struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (l *listener) push(c net.Conn) {
	select {
	case l.conns <- c:
	case <-l.done:
		_ = c.Close()
	}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *listener) Addr() net.Addr { return l.addr }

// response is the answer to a request that a poller read: small, whole, and the last on its connection; or the connection
// itself, when the handler takes it.
type response struct {
	conn   *socket.Conn
	header http.Header
	status int
	body   bytes.Buffer
	taken  bool
}

func (w *response) Header() http.Header { return w.header }

func (w *response) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *response) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

// Take is for package websocket.
func (w *response) Take() *socket.Conn {
	w.taken = true
	return w.conn
}

func (w *response) finish() {
	w.WriteHeader(http.StatusOK)
	var b bytes.Buffer
	r := http.Response{StatusCode: w.status, ProtoMajor: 1, ProtoMinor: 1, Header: w.header, Close: true,
		ContentLength: int64(w.body.Len()), Body: io.NopCloser(&w.body)}
	_ = r.Write(&b) // to memory: cannot fail
	_ = w.conn.Say(b.Bytes())
	w.conn.Finish()
}
