package fleet

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"

	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/tests/load/oracle"
)

// perSource is how many sockets of a fleet come from one address. A pair of addresses has 28,232 ports with the system's
// settings, and the kernel's search for a free one gets slow long before they are used up.
const perSource = 12_000

// task is a connect or reconnect that is under way: sockets that are to become ready.
type task struct {
	queue    []*socket // not begun yet
	open     int       // begun, and neither ready nor given up
	flying   int       // begun, and without an answer to the handshake
	inFlight int       // the most of these
	rate     int       // begun a second; 0: as many as inFlight allows
	begun    int
	began    int64 // microseconds since 1970
	deadline int64
	result   connectedPart
	after    *hdrhistogram.Histogram
}

func newTask(o order, sockets []*socket) *task {
	now := micros()
	return &task{queue: sockets, inFlight: max(o.InFlight, 1), rate: o.Rate, began: now, deadline: now + o.Within.Microseconds(),
		result: connectedPart{Began: now, Errors: map[string]int{}}, after: newLatency()}
}

// paced tells whether the task waits for the time to begin more.
func (t *task) paced() bool { return t.rate > 0 && len(t.queue) > 0 }

// may tells whether another connect may begin now.
func (t *task) may(now int64) bool {
	if len(t.queue) == 0 || t.flying >= t.inFlight {
		return false
	}
	return t.rate == 0 || int64(t.begun) <= (now-t.began)*int64(t.rate)/1_000_000
}

// connect makes a crowd's sockets and begins to connect them.
func (w *worker) connect(o order) error {
	p := o.Plan
	if w.crowds[p.Name] != nil {
		return fmt.Errorf("crowd %q is there already", p.Name)
	}
	c, err := newCrowd(*p)
	if err != nil {
		return err
	}
	c.openWindow(micros())
	c.sockets = make([]*socket, o.Count)
	for i := range c.sockets {
		n := o.First + i
		s := &socket{crowd: c, number: n, target: p.Targets[n%len(p.Targets)], base: n * p.Each % c.symbols, fd: -1}
		// All targets in turn: so many sockets before this one go to the same target.
		if source := (o.Before + n) / len(p.Targets) / perSource; source > 0 {
			s.source = [4]byte{127, 0, 0, byte(1 + source)}
		}
		c.sockets[i] = s
	}
	w.crowds[p.Name] = c
	w.task = newTask(o, append([]*socket(nil), c.sockets...))
	return nil
}

// reconnect drops sockets that are ready, round the crowd, and has them come back.
func (w *worker) reconnect(c *crowd, o order) error {
	var chosen []*socket
	for range c.sockets {
		if len(chosen) == o.Count {
			break
		}
		s := c.sockets[c.next]
		c.next = (c.next + 1) % len(c.sockets)
		if s.state != stateReady {
			continue
		}
		w.drop(s)
		for i := range s.tracks {
			s.tracks[i].Again()
		}
		chosen = append(chosen, s)
	}
	w.task = newTask(o, chosen)
	return nil
}

// goOn begins connects, gives up what is too late, and answers when all is done.
func (w *worker) goOn() error {
	t := w.task
	if t == nil {
		return nil
	}
	now := micros()
	for t.may(now) {
		s := t.queue[0]
		t.queue = t.queue[1:]
		t.begun++
		t.open++
		t.flying++
		w.dial(s, now)
		now = micros()
	}
	if now > t.deadline {
		w.giveUp(t)
	}
	if t.open > 0 || len(t.queue) > 0 {
		return nil
	}
	w.task = nil
	t.result.Ended = micros()
	var err error
	if t.result.ReadyAfter, err = encode(t.after); err != nil {
		return err
	}
	return w.say(answer{Connected: &t.result})
}

func (w *worker) giveUp(t *task) {
	t.result.Failed += len(t.queue)
	if n := len(t.queue); n > 0 {
		t.result.Errors["not begun in time"] += n
	}
	t.queue = nil
	for _, s := range w.table {
		if s != nil && s.asked {
			w.lost(s, 0, fmt.Sprintf("%s after %s", s.state, time.Duration(t.deadline-t.began)*time.Microsecond))
		}
	}
}

// dial begins a connection. On loopback the kernel has mostly made it by the time connect returns, so the handshake is
// tried at once.
func (w *worker) dial(s *socket, now int64) {
	s.began, s.state, s.asked = now, stateHandshake, true
	s.age++
	s.decoder = session.Decoder{}
	if s.tracks == nil {
		s.tracks = make([]oracle.Track, s.crowd.plan.Each)
	}
	if err := w.open(s); err != nil {
		w.lost(s, 0, fmt.Sprintf("connect: %v", err))
		return
	}
	w.send(s, s.crowd.handshakes[s.target])
}

// open makes the socket, begins to connect it and puts it into the epoll.
func (w *worker) open(s *socket) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make socket: %w", err)
	}
	s.fd = fd
	if n := s.crowd.plan.RcvBuf; n > 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, n); err != nil {
			return fmt.Errorf("set SO_RCVBUF: %w", err)
		}
	}
	if s.source[0] != 0 {
		// The port is chosen in connect, where only the pair of addresses must be new.
		if err := unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
			return fmt.Errorf("set IP_BIND_ADDRESS_NO_PORT: %w", err)
		}
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: s.source}); err != nil {
			return fmt.Errorf("bind: %w", err)
		}
	}
	to, err := netip.ParseAddrPort(s.target)
	if err != nil || !to.Addr().Is4() {
		return fmt.Errorf("target %q is no IPv4 address with a port", s.target)
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return err
	}
	if n := len(w.free); n > 0 {
		s.slot, w.free = w.free[n-1], w.free[:n-1]
		w.table[s.slot] = s
	} else {
		s.slot = int32(len(w.table))
		w.table = append(w.table, s)
	}
	s.crowd.open++
	s.watched = unix.EPOLLIN
	return unix.EpollCtl(w.poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: s.watched, Fd: s.slot, Pad: s.age})
}

// settled takes a socket out of the task.
func (w *worker) settled(s *socket) (t *task) {
	if t = w.task; t == nil || !s.asked {
		return nil
	}
	s.asked = false
	t.open--
	return t
}

// ready is said when a socket has all that it was to have before it counts.
func (w *worker) ready(s *socket) {
	s.state = stateReady
	if t := w.settled(s); t != nil {
		t.result.Ready++
		_ = t.after.RecordValue(max(1, w.now-s.began)) // an hour is never reached
	}
	switch rate := s.crowd.plan.ReadRate; {
	case rate < 0:
		w.watch(s, 0)
	case rate > 0:
		w.watch(s, 0)
		// Spread, so that not all are read at once.
		s.due = w.now + int64(s.number%100)*slowChunk(rate).Microseconds()/100
		if !s.slow {
			s.slow = true
			w.slow = append(w.slow, s)
		}
	}
}

// refused is an answer that is not what was asked for.
func (w *worker) refused(s *socket, why string) {
	if t := w.settled(s); t != nil {
		w.landed(s)
		t.result.Refused++
		t.result.Errors[why]++
	}
	w.lost(s, 0, why)
}

// landed says that the handshake is over.
func (w *worker) landed(s *socket) {
	if w.task != nil && s.state == stateHandshake {
		w.task.flying--
	}
}

// lost ends a socket that its server closed or that broke: code is the close frame's, 0 before the handshake was done.
func (w *worker) lost(s *socket, code int, why string) {
	if s.state == stateClosed {
		return
	}
	if t := w.settled(s); t != nil {
		w.landed(s)
		t.result.Failed++
		t.result.Errors[why]++
	} else if code != 0 {
		s.crowd.closed++
		s.crowd.closeCodes[code]++
		s.crowd.example("socket %d: closed with %d: %s", s.number, code, why)
	}
	w.drop(s)
}

// drop closes the socket and forgets what was unfinished.
func (w *worker) drop(s *socket) {
	if s.fd >= 0 {
		_ = unix.Close(s.fd) // which also takes it out of the epoll
	}
	if int(s.slot) < len(w.table) && w.table[s.slot] == s {
		w.table[s.slot] = nil
		w.free = append(w.free, s.slot)
		s.crowd.open--
	}
	s.fd, s.state, s.rest, s.stream, s.out = -1, stateClosed, nil, nil, nil
}

// disconnect ends a crowd. The connections are reset: those of an ended run shall not hold ports for a minute.
func (w *worker) disconnect(c *crowd) {
	for _, s := range c.sockets {
		if s.state != stateClosed {
			_ = unix.SetsockoptLinger(s.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
			w.drop(s)
		}
	}
	w.slow = without(w.slow, c)
	delete(w.crowds, c.plan.Name)
}

// resume has a stalled or slow crowd read all.
func (w *worker) resume(c *crowd) error {
	c.plan.ReadRate = 0
	w.slow = without(w.slow, c)
	for _, s := range c.sockets {
		if s.state == stateReady {
			w.watch(s, unix.EPOLLIN)
		}
	}
	return nil
}

func without(list []*socket, c *crowd) []*socket {
	kept := list[:0]
	for _, s := range list {
		if s.crowd != c {
			kept = append(kept, s)
		} else {
			s.slow = false
		}
	}
	return kept
}
