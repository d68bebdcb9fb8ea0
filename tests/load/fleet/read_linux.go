package fleet

import (
	"bytes"
	"fmt"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/tests/load/oracle"
)

// longestHead bounds the head of an answer to a handshake, in bytes.
const longestHead = 16 << 10

// A slow socket is read so many bytes at a time, as seldom as its rate allows.
const slowBytes = 512

// slowChunk is the time between two reads of a socket that reads so many bytes a second.
func slowChunk(rate int) time.Duration { return slowBytes * time.Second / time.Duration(rate) }

// event is something that epoll says of a socket.
func (w *worker) event(e unix.EpollEvent) {
	s := w.table[e.Fd]
	if s == nil || s.age != e.Pad {
		return // closed since, in this very round
	}
	if e.Events&unix.EPOLLOUT != 0 {
		w.flush(s)
	}
	if e.Events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) != 0 && s.state != stateClosed {
		w.read(s, len(w.buf))
	}
}

// watch changes what epoll says of a socket; errors and hang-ups it says always. What is still to be written stays watched.
func (w *worker) watch(s *socket, events uint32) {
	if len(s.out) > 0 {
		events |= unix.EPOLLOUT
	}
	if s.watched == events {
		return
	}
	s.watched = events
	if err := unix.EpollCtl(w.poll, unix.EPOLL_CTL_MOD, s.fd, &unix.EpollEvent{Events: events, Fd: s.slot, Pad: s.age}); err != nil {
		w.lost(s, 1006, fmt.Sprintf("watch: %v", err))
	}
}

// send writes p, and keeps what the kernel does not take.
func (w *worker) send(s *socket, p []byte) {
	s.out = append(s.out, p...)
	w.flush(s)
}

func (w *worker) flush(s *socket) {
	for len(s.out) > 0 {
		n, err := unix.Write(s.fd, s.out)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			w.watch(s, s.watched|unix.EPOLLOUT)
			return
		case err != nil:
			w.lost(s, 1006, fmt.Sprintf("write: %v", err))
			return
		default:
			s.out = s.out[n:]
		}
	}
	s.out = nil
	w.watch(s, s.watched&^uint32(unix.EPOLLOUT))
}

// readSlow reads those slow sockets whose time has come.
func (w *worker) readSlow() {
	if len(w.slow) == 0 {
		return
	}
	now := micros()
	kept := w.slow[:0]
	for _, s := range w.slow {
		if s.state != stateReady {
			s.slow = false
			continue
		}
		if now >= s.due {
			s.due = max(s.due+slowChunk(s.crowd.plan.ReadRate).Microseconds(), now)
			w.read(s, slowBytes)
		}
		kept = append(kept, s)
	}
	w.slow = kept
}

// read reads once, most bytes at the most, and takes what is whole. Epoll says again if there is more. The call is raw,
// since the socket never blocks: it saves the scheduler's part of a system call, a tenth of a small read.
func (w *worker) read(s *socket, most int) {
	held := len(s.rest)
	if held > len(w.buf)/2 {
		w.buf = make([]byte, 4*held)
	}
	copy(w.buf, s.rest)
	room := w.buf[held:]
	room = room[:min(len(room), most)]
	got, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(s.fd), uintptr(unsafe.Pointer(&room[0])), uintptr(len(room)))
	w.now = micros()
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
		return
	case errno != 0:
		w.lost(s, 1006, fmt.Sprintf("read: %v", errno))
		return
	case got == 0:
		w.lost(s, 1006, fmt.Sprintf("the server ended the connection, %s", s.state))
		return
	}
	t := &s.crowd.window
	t.Reads++
	t.Bytes += int64(got)
	p := w.buf[:held+int(got)]
	if s.state == stateHandshake {
		if p = w.answered(s, p); p == nil {
			return
		}
	}
	w.cut(s, p)
}

// answered reads the answer to the handshake and gives what follows it; nil: nothing to go on with.
func (w *worker) answered(s *socket, p []byte) []byte {
	end := bytes.Index(p, []byte("\r\n\r\n"))
	if end < 0 {
		if s.rest = bytes.Clone(p); len(p) > longestHead {
			w.refused(s, "an answer to the handshake without end")
		}
		return nil
	}
	head, after := string(p[:end]), p[end+4:]
	if fault := upgraded(s.crowd.plan.Dialect, head); fault != "" {
		if _, code, ok := strings.Cut(string(after), `"code":"`); ok {
			code, _, _ = strings.Cut(code, `"`)
			fault += ", " + code
		}
		w.refused(s, fault)
		return nil
	}
	w.landed(s)
	s.state = stateSubscribing
	c := s.crowd
	if c.plan.Dialect == Frames {
		w.ready(s)
		return after
	}
	w.send(s, c.plan.appendSubscribe(nil, s.symbols()))
	if s.state == stateClosed {
		return nil
	}
	return after
}

// cut takes all frames that have come whole, and keeps the rest.
func (w *worker) cut(s *socket, p []byte) {
	var f frame
	for {
		n, err := f.cut(p)
		if err != nil {
			w.lost(s, 1006, err.Error())
			return
		}
		if n == 0 {
			break
		}
		p = p[n:]
		if f.opcode >= opClose {
			w.control(s, &f)
		} else {
			w.data(s, &f)
		}
		if s.state == stateClosed {
			return
		}
	}
	if len(p) == 0 {
		s.rest = nil // mostly so: of 18,000 sockets only those in the middle of a frame hold a buffer
		return
	}
	s.rest = bytes.Clone(p)
}

func (w *worker) control(s *socket, f *frame) {
	switch f.opcode {
	case opPing:
		s.crowd.window.Pings++
		w.send(s, appendFrame(nil, opPong, f.payload))
	case opClose:
		code := closeCode(f.payload)
		w.send(s, appendFrame(nil, opClose, f.payload[:min(2, len(f.payload))]))
		w.lost(s, code, "a close frame came")
	}
}

// data takes a data frame.
func (w *worker) data(s *socket, f *frame) {
	c := s.crowd
	c.window.Frames++
	known := false
	switch c.plan.Dialect {
	case NATS: // a stream: its frames have no meaning
		w.nats(s, f.payload)
		return
	case Compact:
		if session.IsTicks(f.payload) && f.fin && f.opcode == opBinary {
			w.compact(s, f.payload)
			return
		}
	case MessagePack:
		known = w.sight.scanMsgpack(f.payload)
	default:
		known = w.sight.scanJSON(f.payload)
	}
	switch {
	case known && f.fin && f.opcode != opContinuation:
		w.tick(s, len(f.payload))
	case !f.fin || f.opcode == opContinuation:
		w.lost(s, 1006, "a fragmented message")
	default:
		w.message(s, f.payload)
	}
}

// compact takes the ticks of a message.
func (w *worker) compact(s *socket, p []byte) {
	for len(p) > 0 {
		t, rest, err := s.decoder.Next(p)
		if err != nil {
			w.lost(s, 1006, err.Error())
			return
		}
		w.sight.of(t)
		if w.tick(s, len(p)-len(rest)); s.state == stateClosed {
			return
		}
		p = rest
	}
}

// nats takes a piece of the NATS protocol.
func (w *worker) nats(s *socket, p []byte) {
	if len(s.stream) > 0 {
		s.stream = append(s.stream, p...)
		p = s.stream
	}
	var o natsOp
	for {
		n, err := o.cutNATS(p)
		if err != nil {
			w.lost(s, 1006, err.Error())
			return
		}
		if n == 0 {
			break
		}
		p = p[n:]
		w.operation(s, &o)
		if s.state == stateClosed {
			return
		}
	}
	if len(p) == 0 {
		s.stream = nil
		return
	}
	s.stream = bytes.Clone(p)
}

func (w *worker) operation(s *socket, o *natsOp) {
	switch o.verb {
	case "MSG":
		if w.sight.scanJSON(o.payload) {
			w.tick(s, len(o.payload))
		} else {
			w.message(s, o.payload)
		}
	case "PING":
		s.crowd.window.Pings++
		w.send(s, appendFrame(nil, opBinary, []byte("PONG\r\n")))
	case "PONG":
		if s.state == stateSubscribing {
			w.ready(s)
		}
	case "-ERR":
		s.crowd.window.Errors++
		s.crowd.example("socket %d: %s", s.number, o.payload)
		if s.asked {
			w.refused(s, string(o.payload))
		}
	}
}

// tick shows the oracle the tick that was scanned.
func (w *worker) tick(s *socket, size int) {
	c := s.crowd
	number, ok := w.sight.seq, true
	if c.names == nil {
		number, ok = w.sight.number()
	}
	i := s.track(w.sight.symbol)
	if i < 0 || !ok {
		c.counts.Ticks++
		c.counts.Foreign++
		c.example("socket %d: foreign: %s at %s", s.number, w.sight.symbol, w.sight.price)
		return
	}
	t := &s.tracks[i]
	before, first := t.Last(), !t.Started()
	if fault := t.Tick(&c.counts, c.mode, oracle.Tick{Number: number, Epoch: w.sight.epoch, Seq: w.sight.seq}); fault != oracle.None {
		c.example("socket %d: %s: %s number %d (epoch %d, seq %d) after %d", s.number, fault, w.sight.symbol, number, w.sight.epoch, w.sight.seq, before)
	}
	if first {
		w.snapshot(s, i)
		if c.plan.Dialect != Frames && c.plan.Dialect != NATS {
			return
		}
	}
	c.window.Deliveries++
	c.window.PayloadBytes += int64(size)
	c.sizes[min(size, largestPayload-1)]++
	if w.sight.ts >= c.began {
		_ = c.latency.RecordValue(min(max(w.now-w.sight.ts, 1), longestLatency)) // in range, so no error
	}
}

// snapshot counts a symbol's first tick.
func (w *worker) snapshot(s *socket, i int) {
	if s.state != stateSnapshots || s.unpriced[i] {
		return
	}
	if s.waiting--; s.waiting == 0 {
		w.ready(s)
	}
}

// message takes what is rare, and ticks that the scanners do not know.
func (w *worker) message(s *socket, p []byte) {
	c := s.crowd
	m, err := session.DecodeMessage(c.plan.Dialect.format(), p)
	if err != nil {
		c.window.Errors++
		c.example("socket %d: %v: %q", s.number, err, p[:min(len(p), 200)])
		return
	}
	switch m.Op {
	case session.OpTick:
		w.sight.take(&m)
		w.tick(s, len(p))
	case session.OpSubscribed:
		w.subscribed(s, &m)
	case session.OpGap:
		c.window.Gaps++
		w.gap(s, &m)
	case session.OpStale:
		c.window.Stale++
	case session.OpError:
		c.window.Errors++
		c.example("socket %d: error %s: %s", s.number, m.Code, m.Message)
		if s.asked {
			w.refused(s, string(m.Code)+": "+m.Message)
		}
	}
}

// subscribed counts the snapshots that are still to come.
func (w *worker) subscribed(s *socket, m *session.Message) {
	if s.crowd.plan.Dialect == Compact {
		if err := s.decoder.Subscribed(m); err != nil {
			w.refused(s, err.Error())
			return
		}
	}
	s.unpriced = nil
	for _, symbol := range m.NoPrice {
		if i := s.track([]byte(symbol)); i >= 0 {
			if s.unpriced == nil {
				s.unpriced = map[int]bool{}
			}
			s.unpriced[i] = true
		}
	}
	s.waiting = 0
	for i := range s.tracks {
		if !s.tracks[i].Started() && !s.unpriced[i] {
			s.waiting++
		}
	}
	s.state = stateSnapshots
	if s.waiting == 0 {
		w.ready(s)
	}
}

func (w *worker) gap(s *socket, m *session.Message) {
	c := s.crowd
	i := s.track([]byte(m.Symbol))
	if i < 0 {
		c.counts.Foreign++
		c.example("socket %d: a gap of %s", s.number, m.Symbol)
		return
	}
	if fault := s.tracks[i].Gap(&c.counts, c.mode, m.Epoch, m.From, m.To); fault != oracle.None {
		c.example("socket %d: %s: gap of %s, epoch %d, %d to %d, after %d", s.number, fault, m.Symbol, m.Epoch, m.From, m.To, s.tracks[i].Last())
	}
}
