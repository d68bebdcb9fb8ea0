package socket

import (
	"encoding/binary"
	"errors"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// readSize is how much a poller reads at once. One buffer serves all its connections.
const readSize = 64 << 10

// Reader is an Owner whose bytes the poller reads. Its methods are called by the poller's loop, one at a time.
type Reader interface {
	Owner
	// Received takes what came from the client and gives how much of it is done with; the rest comes again with more
	// behind it. It may change p, and keeps nothing of it. It stops early when Paused tells so.
	Received(c *Conn, p []byte) (used int)
	// Gone is called once, when the socket has been closed.
	Gone(c *Conn)
}

// reading is what a Conn needs that has no goroutine.
type reading struct {
	in    []byte // received, but not used yet
	until int64  // when the connection ends unless something happens: its handshake, or its end; by the poller's clock

	// Under mu:
	busy    bool // the last request is not answered yet
	waiting bool // bytes wait in the kernel or in in until the connection is not paused any more
	queued  bool // in the poller's list
	resting bool // until the loop comes to the poller's list

	// The loop's own:
	more, hup bool // the kernel has bytes; it has the end
	lingering bool // the last frame has been said
	shut      bool // our side is closed
	eof       bool // the client has closed his, and has not got all yet
}

// Poller is a loop over an epoll: it reads from its connections and tells refused ones when they can be written to.
//
// Connections are registered once, edge-triggered, for both directions: no system call but epoll_wait, read and sendto
// afterwards. So a connection is read until the kernel has no more, or, while it is paused, looked at again when it is not.
//
// The loop waits in Go's own poller, which sees the epoll as one more descriptor, rather than in epoll_wait: a thread that
// blocks in a system call has to be noticed by the runtime's monitor each time, which was a fifth of the CPU of 15,000
// idle connections.
type Poller struct {
	epfd   int
	file   *os.File // of epfd
	rc     syscall.RawConn
	wakefd int
	now    func() int64
	done   chan struct{}
	buf    []byte

	mu     sync.Mutex
	conns  []*Conn // by descriptor
	queue  []*Conn // to be looked at by the loop, because of another goroutine
	adopts []*Conn // new ones
	hurry  int64
	closed bool

	handshakes, ends deadlines
	until            int64 // the deadline that file has
}

// NewPoller starts a poller; Close stops it. now is a monotonic clock in nanoseconds.
func NewPoller(now func() int64) (*Poller, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	wakefd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil {
		err = unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, wakefd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(wakefd)})
	}
	if err == nil {
		err = unix.SetNonblock(epfd, true) // or os would not have Go's poller wait for it
	}
	if err != nil {
		unix.Close(epfd)
		unix.Close(wakefd)
		return nil, err
	}
	p := &Poller{epfd: epfd, wakefd: wakefd, now: now, done: make(chan struct{}), buf: make([]byte, readSize), until: never}
	p.file = os.NewFile(uintptr(epfd), "epoll")
	if p.rc, err = p.file.SyscallConn(); err == nil {
		err = p.file.SetReadDeadline(time.Time{})
	}
	if err != nil {
		p.file.Close()
		unix.Close(wakefd)
		return nil, err
	}
	go p.run()
	return p, nil
}

// Close closes the connections that the poller reads and stops it. No Stream may use it any more.
func (p *Poller) Close() {
	p.mu.Lock()
	p.closed = true
	p.wake()
	p.mu.Unlock()
	<-p.done
	p.file.Close()
	unix.Close(p.wakefd)
}

// Adopt reads from a connected, non-blocking descriptor from now on; it is the poller's, also when it fails. The
// connection is closed unless Become is called within limit.
func (p *Poller) Adopt(fd int, r Reader, limit time.Duration) error {
	if err := prepare(fd); err != nil {
		unix.Close(fd)
		return err
	}
	c := &Conn{owner: r, poller: p, fd: int32(fd)}
	now := p.now()
	c.alive.Store(now)
	c.until = now + int64(limit)
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		unix.Close(fd)
		return ErrClosed
	}
	p.adopts = append(p.adopts, c)
	if len(p.adopts) == 1 {
		p.wake()
	}
	p.mu.Unlock()
	return nil
}

// Hurry ends handshakes as if they had taken by longer.
func (p *Poller) Hurry(by time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.hurry = int64(by)
		p.wake()
	}
}

// wake ends the loop's wait. Called under mu, so that Close cannot have closed wakefd. The counter of wakefd is never read
// back: edge-triggered, each write is an event, and it has room for 2^64 of them.
func (p *Poller) wake() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(p.wakefd, one[:])
}

func (p *Poller) run() {
	defer close(p.done)
	events := make([]unix.EpollEvent, 256)
	ended := false
	// look takes all that has happened, and is called again when more does: what happens after its last look at the epoll
	// ends the wait that follows. So there is one system call a wake-up besides those of the connections.
	look := func(uintptr) bool {
		for n := len(events); n == len(events); {
			n = epollNow(p.epfd, events)
			for _, e := range events[:n] {
				if c := p.conn(e.Fd); c != nil {
					p.event(c, e.Events)
				}
			}
			// After the events: a descriptor closed above may be another connection's by now, whose events come next time.
			p.attend()
			if ended = p.expire(); ended {
				break
			}
		}
		p.setDeadline()
		return ended
	}
	for !ended {
		if err := p.rc.Read(look); errors.Is(err, os.ErrDeadlineExceeded) {
			ended = p.expire()
			p.setDeadline()
		} else if err != nil {
			return // cannot be: the epoll is closed after this
		}
	}
}

func (p *Poller) conn(fd int32) *Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if int(fd) < len(p.conns) {
		return p.conns[fd]
	}
	return nil
}

func (p *Poller) setConn(fd int32, c *Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c == nil && int(fd) >= len(p.conns) {
		return
	}
	for int(fd) >= len(p.conns) {
		p.conns = append(p.conns, nil)
	}
	p.conns[fd] = c
}

func (p *Poller) event(c *Conn, events uint32) {
	if events&(unix.EPOLLOUT|unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		c.ready()
	}
	if c.stream != nil {
		return
	}
	if events&^unix.EPOLLOUT != 0 {
		c.more = true
		c.hup = c.hup || events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0
		p.read(c)
	}
	if c.lingering {
		p.shut(c)
	}
}

// attend registers new connections and goes on with those that other goroutines asked for.
func (p *Poller) attend() {
	p.mu.Lock()
	queue, adopts := p.queue, p.adopts
	p.queue, p.adopts = nil, nil
	p.mu.Unlock()
	for _, c := range adopts {
		p.setConn(c.fd, c)
		p.handshakes.add(c)
		if err := unix.EpollCtl(p.epfd, unix.EPOLL_CTL_ADD, int(c.fd), &unix.EpollEvent{Fd: c.fd,
			Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET}); err != nil {
			p.close(c)
		}
	}
	for _, c := range queue {
		c.mu.Lock()
		c.queued, c.resting = false, false
		gone, closing, broken := c.fd < 0, c.closing, c.broken
		c.mu.Unlock()
		switch {
		case gone:
		case broken:
			p.close(c)
		case closing:
			p.linger(c)
		case len(c.in) == 0 || p.use(c, c.in):
			p.read(c)
		}
	}
}

// turn is how many times a connection is read before the others have theirs.
const turn = 4

// read reads until the kernel has no more or the connection is paused, and hands on what comes.
func (p *Poller) read(c *Conn) {
	for n := 0; c.more; n++ {
		if n == turn {
			c.mu.Lock()
			c.queueLocked()
			c.mu.Unlock()
			return
		}
		if !c.lingering {
			switch paused, closing := c.state(); {
			case closing:
				p.linger(c)
				return
			case paused:
				return
			}
		}
		n, errno := readNow(c.fd, p.buf)
		switch {
		case errno == unix.EINTR:
			continue
		case errno == unix.EAGAIN:
			c.more = false
			return
		case errno == 0 && n == 0 && c.unsent():
			c.more, c.hup, c.eof = false, false, true
			if !c.lingering {
				p.linger(c)
			}
			return
		case errno != 0 || n == 0:
			p.close(c)
			return
		}
		// A short read says that nothing is left, but for the end, of which the kernel told or will tell.
		c.more = n == len(p.buf) || c.hup
		c.alive.Store(p.now())
		if c.lingering {
			continue
		}
		data := p.buf[:n]
		if len(c.in) > 0 {
			c.in = append(c.in, data...)
			data = c.in
		}
		if !p.use(c, data) {
			return
		}
	}
}

// use hands data on and keeps what was not used. False: the connection is not to be read further.
func (p *Poller) use(c *Conn, data []byte) bool {
	for len(data) > 0 {
		n := c.owner.(Reader).Received(c, data)
		if data = data[n:]; n == 0 || c.fd < 0 {
			break
		}
	}
	switch {
	case c.fd < 0: // detached
		return false
	case len(data) == 0:
		c.in = nil // rather than keep its memory: most connections say little, once
	case len(c.in) > 0: // data is its end
		c.in = data
	default:
		c.in = slices.Clone(data)
	}
	return true
}

// state tells whether nothing may be read now, and whether nothing will be read any more. In the first case the connection
// is looked at again when that is over; until then, too, nothing is read behind what was not used: who floods would have
// all of it kept.
func (c *Conn) state() (paused, closing bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = !c.closing && (c.busy || c.resting || len(c.out) > 0)
	return c.waiting || c.queued && len(c.in) > 0, c.closing
}

// Paused tells Received to stop: a request is not answered yet, the outbox holds something, the others have their turn, or
// the connection ends.
func (c *Conn) Paused() bool {
	paused, closing := c.state()
	return paused || closing
}

// Rest says that what came was much work: the others have their turn before there is more of it. Called in Received.
func (c *Conn) Rest() {
	c.mu.Lock()
	c.resting = true
	c.queueLocked()
	c.mu.Unlock()
}

// Begin says that a request is being carried out; nothing more is read until Done.
func (c *Conn) Begin() {
	c.mu.Lock()
	c.busy = true
	c.mu.Unlock()
}

// Done says that it has been answered.
func (c *Conn) Done() {
	c.mu.Lock()
	c.busy = false
	c.resumeLocked()
	c.mu.Unlock()
}

// Become hands the connection to another reader and lifts the time limit. Called in Received.
func (c *Conn) Become(r Reader) {
	c.mu.Lock()
	c.owner = r
	c.mu.Unlock()
	c.until = 0
}

// Detach takes the connection away from the poller and gives its descriptor, which is the caller's then. Called in
// Received; Gone is not called.
func (c *Conn) Detach() int {
	fd := c.take()
	_ = unix.EpollCtl(c.poller.epfd, unix.EPOLL_CTL_DEL, fd, nil)
	return fd
}

// take ends all use of the descriptor.
func (c *Conn) take() int {
	c.mu.Lock()
	fd := c.fd
	c.fd = -1
	c.closing, c.out = true, nil
	c.mu.Unlock()
	c.in = nil
	c.poller.setConn(fd, nil)
	return int(fd)
}

func (c *Conn) resumeLocked() {
	if c.waiting && !c.busy && len(c.out) == 0 {
		c.waiting = false
		c.queueLocked()
	}
}

func (c *Conn) finishLocked() { c.queueLocked() }

func (c *Conn) queueLocked() {
	if c.queued || c.fd < 0 {
		return
	}
	c.queued = true
	p := c.poller
	p.mu.Lock()
	p.queue = append(p.queue, c)
	if len(p.queue) == 1 {
		p.wake()
	}
	p.mu.Unlock()
}

// armLocked has ready called when the socket can be written to. A Conn is registered for that for good; a Stream each
// time, one-shot, so that one that never refuses costs nothing here.
func (c *Conn) armLocked() {
	s := c.stream
	if s == nil {
		return
	}
	op := unix.EPOLL_CTL_MOD
	if !s.armed {
		op, s.armed = unix.EPOLL_CTL_ADD, true
		c.poller.setConn(c.fd, c)
	}
	// Inside RawConn, so that the number cannot belong to another socket by now.
	_ = s.rc.Control(func(fd uintptr) {
		_ = unix.EpollCtl(c.poller.epfd, op, int(fd), &unix.EpollEvent{Events: unix.EPOLLOUT | unix.EPOLLONESHOT, Fd: int32(fd)})
	})
}

// forget must come before the descriptor is closed; closing takes it out of the epoll.
func (s *Stream) forget() {
	s.mu.Lock()
	armed := s.armed
	s.mu.Unlock()
	if armed {
		s.poller.setConn(s.fd, nil)
	}
}

// linger ends a connection: what is in the outbox goes out, then the sending side is closed, then what still comes is
// dropped until the client closes too.
func (p *Poller) linger(c *Conn) {
	if !c.lingering {
		c.lingering = true
		c.in = nil
		c.until = p.now() + int64(lingerTime)
		p.ends.add(c)
	}
	c.mu.Lock()
	c.closing = true
	if len(c.out) > 0 && !c.blocked { // a worker would have written it next, but writes no more
		c.flushLocked()
	}
	c.mu.Unlock()
	p.shut(c)
	if c.fd < 0 {
		return
	}
	c.more = true // what was left unread while it was paused
	p.read(c)
}

func (c *Conn) unsent() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.out) > 0
}

// shut closes our side once everything is said.
func (p *Poller) shut(c *Conn) {
	c.mu.Lock()
	ready := len(c.out) == 0 && c.fd >= 0
	c.mu.Unlock()
	if ready && !c.shut {
		c.shut = true
		_ = unix.Shutdown(int(c.fd), unix.SHUT_WR)
		if c.eof {
			p.close(c)
		}
	}
}

func (p *Poller) close(c *Conn) {
	if c.fd < 0 {
		return
	}
	unix.Close(c.take())
	c.owner.(Reader).Gone(c)
}

// expire closes who has had his time. True: the poller is to end, and has closed all.
func (p *Poller) expire() bool {
	p.mu.Lock()
	closed, conns, adopts, hurry := p.closed, p.conns, p.adopts, p.hurry
	p.hurry = 0
	p.mu.Unlock()
	now := p.now()
	for c := p.handshakes.next(now + hurry); c != nil; c = p.handshakes.next(now + hurry) {
		p.close(c)
	}
	for c := p.ends.next(now); c != nil; c = p.ends.next(now) {
		p.close(c)
	}
	if closed {
		for _, c := range adopts {
			p.close(c)
		}
		for _, c := range conns {
			if c != nil && c.stream == nil {
				p.close(c)
			}
		}
	}
	return closed
}

// setDeadline has the wait end when a connection has had its time.
func (p *Poller) setDeadline() {
	t := min(p.handshakes.first(), p.ends.first())
	if t == p.until {
		return
	}
	p.until = t
	var at time.Time
	if t != never {
		at = time.Now().Add(time.Duration(t - p.now()))
	}
	_ = p.file.SetReadDeadline(at)
}

// deadlines is a list of connections that all have the same time: the first to come is the first to go.
type deadlines struct{ list []deadline }

type deadline struct {
	c  *Conn
	at int64
}

const never = 1<<63 - 1

func (d *deadlines) add(c *Conn) { d.list = append(d.list, deadline{c, c.until}) }

// skip drops those whose time was lifted or changed.
func (d *deadlines) skip() {
	for len(d.list) > 0 && (d.list[0].c.fd < 0 || d.list[0].c.until != d.list[0].at) {
		d.list[0].c = nil
		d.list = d.list[1:]
	}
}

func (d *deadlines) first() int64 {
	if d.skip(); len(d.list) == 0 {
		return never
	}
	return d.list[0].at
}

func (d *deadlines) next(now int64) *Conn {
	if d.first() > now {
		return nil
	}
	c := d.list[0].c
	d.list[0].c = nil
	d.list = d.list[1:]
	return c
}
