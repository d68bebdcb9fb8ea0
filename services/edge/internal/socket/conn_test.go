package socket

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/services/edge/internal/certtest"
)

func TestMain(m *testing.M) { natstest.Main(m) }

const wait = 10 * time.Second

// ways are how a connection can be read: the same holds for all of them.
func ways(t *testing.T, f func(t *testing.T, way way)) {
	for _, w := range append(moreWays(), streamed, overTLS(t)) {
		t.Run(w.name, func(t *testing.T) { f(t, w) })
	}
}

// way makes a connection out of an accepted socket.
type way struct {
	name string
	open func(t *testing.T, s *net.TCPConn, p *Poller, o *owner) *Conn
	tls  *tls.Config // the client's; nil: plain
}

// owner is a Conn's.
type owner struct {
	writable func()
	read     chan string   // what came
	gone     chan struct{} // closed when the socket is
}

func (o *owner) Writable() { o.writable() }

var streamed = way{name: "stream", open: func(t *testing.T, s *net.TCPConn, p *Poller, o *owner) *Conn {
	return openStream(t, s, "", p, o)
}}

// overTLS is a stream that speaks TLS.
func overTLS(t *testing.T) way {
	t.Helper()
	a := certtest.NewAuthority(t)
	cert, err := tls.X509KeyPair(a.Pair("socket", time.Now().Add(time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}, DynamicRecordSizingDisabled: true}
	return way{"tls", func(t *testing.T, s *net.TCPConn, p *Poller, o *owner) *Conn {
		t.Helper()
		c := NewTLS(s, config)
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		return openStream(t, c, "", p, o)
	}, a.Client()}
}

func openStream(t *testing.T, s net.Conn, pre string, p *Poller, o *owner) *Conn {
	t.Helper()
	c, err := NewStream(s, []byte(pre), p, o)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(o.gone)
		defer c.Linger()
		for {
			b := make([]byte, 100)
			n, err := c.Read(b)
			if err != nil {
				return
			}
			o.read <- string(b[:n])
		}
	}()
	return &c.Conn
}

// pair is a Conn and its client's end. The client's receive buffer is small, so that refusals come soon.
func pair(t *testing.T, w way, writable func()) (*Conn, *owner, net.Conn) {
	t.Helper()
	start := time.Now()
	p, err := NewPoller(func() int64 { return int64(time.Since(start)) + 1 })
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := client.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	o := &owner{writable: writable, read: make(chan string, 10000), gone: make(chan struct{})}
	done := make(chan error, 1)
	if w.tls != nil {
		c := tls.Client(client, w.tls)
		client = c
		go func() { done <- c.Handshake() }()
	} else {
		done <- nil
	}
	c := w.open(t, s.(*net.TCPConn), p, o)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = client.Close()
		c.Finish()
		select {
		case <-o.gone:
		case <-time.After(wait):
			t.Error("the connection does not end")
		}
		p.Close()
	})
	return c, o, client
}

// frame is a test frame: length, number, filling.
func frame(n, size int) []byte {
	p := binary.BigEndian.AppendUint32(nil, uint32(size))
	p = binary.BigEndian.AppendUint32(p, uint32(n))
	return append(p, bytes.Repeat([]byte{byte(n)}, size)...)
}

func readFrame(r io.Reader) (n int, err error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, err
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:]))
	n = int(binary.BigEndian.Uint32(head[4:]))
	if _, err := io.ReadFull(r, body); err != nil {
		return 0, err
	}
	for _, b := range body {
		if b != byte(n) {
			return 0, errors.New("a frame is torn")
		}
	}
	return n, nil
}

// A client that reads slowly gets whole frames in order, whatever the kernel refuses or cuts; what was not sent stays the
// caller's, and comes when the socket can be written to.
func TestWholeFramesInOrder(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		ready := make(chan struct{}, 1)
		c, _, client := pair(t, w, func() {
			select {
			case ready <- struct{}{}:
			default:
			}
		})
		const frames = 600 // a window of 4 KB lets some 50 KB through a second
		got := make(chan error, 1)
		refusal := make(chan struct{})
		go func() {
			<-refusal // so that there is one, whoever is faster
			for want := range frames {
				n, err := readFrame(client)
				if err == nil && n != want {
					err = errors.New("frames are out of order")
				}
				if err != nil {
					got <- err
					return
				}
			}
			got <- nil
		}()
		var f Flush
		refused, cut := 0, 0
		defer func() {
			if refused == 0 {
				close(refusal)
			}
		}()
		for next := 0; next < frames; {
			f.Reset()
			for i := range min(1+rand.IntN(40), frames-next) {
				f.Frames = append(f.Frames, frame(next+i, rand.IntN(400))...)
				f.Ends = append(f.Ends, int32(len(f.Frames)))
			}
			r, err := c.WriteFrames(&f)
			if err != nil {
				t.Fatal(err)
			}
			next += r.Sent
			if r.Blocked {
				if refused++; refused == 1 {
					close(refusal)
				}
				if r.Sent > 0 && r.Sent < len(f.Ends) {
					cut++
				}
				select {
				case <-ready:
				case <-time.After(wait):
					t.Fatal("the socket never can be written to again")
				}
			}
		}
		for { // the rest of the last frame
			f.Reset()
			r, err := c.WriteFrames(&f)
			if err != nil {
				t.Fatal(err)
			}
			if !r.Blocked {
				break
			}
			<-ready
		}
		select {
		case err := <-got:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(wait):
			t.Fatal("not all frames came")
		}
		t.Logf("%d writes refused, %d cut between frames", refused, cut)
	})
}

// fill writes until the socket refuses.
func fill(t *testing.T, c *Conn) (sent int) {
	t.Helper()
	var f Flush
	for range 10000 {
		f.Reset()
		f.Frames = append(f.Frames, frame(sent, 1000)...)
		f.Ends = append(f.Ends, int32(len(f.Frames)))
		r, err := c.WriteFrames(&f)
		if err != nil {
			t.Fatal(err)
		}
		sent += r.Sent
		if r.Blocked {
			return sent
		}
	}
	t.Fatal("the socket never refuses")
	return 0
}

// What waits for a client that does not read is bounded, in our memory and in the kernel's.
func TestStalledClientIsBounded(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		c, _, _ := pair(t, w, func() {})
		if sent := fill(t, c); sent > 100 {
			t.Errorf("the kernel took %d frames of 1 KB for a client that does not read", sent)
		}
		answer := bytes.Repeat([]byte{1}, 1000)
		var err error
		for i := 0; err == nil; i++ {
			if i > MaxOutbox/len(answer) {
				t.Fatal("the outbox takes more than it may")
			}
			err = c.Say(answer)
		}
		if !errors.Is(err, ErrFull) {
			t.Fatalf("got %v", err)
		}
	})
}

// Answers overtake ticks that were not begun, and the reader reads no further while they wait.
func TestAnswersFirstAndReadingStops(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		var writable atomic.Bool
		c, o, client := pair(t, w, func() { writable.Store(true) })
		sent := fill(t, c)
		if err := c.Say(frame(77777, 10)); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		for want := range sent {
			if n, err := readFrame(client); err != nil || n != want {
				t.Fatalf("frame %d, %v, want %d", n, err, want)
			}
		}
		natstest.Eventually(t, wait, writable.Load, "the socket cannot be written to")
		select {
		case <-o.read:
			t.Fatal("the reader read on before the outbox was empty")
		default:
		}
		var f Flush
		f.Frames = append(f.Frames, frame(sent, 10)...)
		f.Ends = append(f.Ends, int32(len(f.Frames)))
		if _, err := c.WriteFrames(&f); err != nil {
			t.Fatal(err)
		}
		for _, want := range []int{77777, sent} {
			if n, err := readFrame(client); err != nil || n != want {
				t.Fatalf("frame %d, %v, want %d", n, err, want)
			}
		}
		select {
		case p := <-o.read:
			if p != "x" {
				t.Errorf("read %q", p)
			}
		case <-time.After(wait):
			t.Error("the reader never reads on")
		}
	})
}

// After a close frame nothing is written, and the client gets it even when his pipe was full.
func TestCloseIsLastAndArrives(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		c, o, client := pair(t, w, func() {})
		sent := fill(t, c)
		c.End([]byte{opClose, 2, 0x10, 0x69})
		if err := c.Say([]byte("more")); !errors.Is(err, ErrClosed) {
			t.Errorf("Say after close: %v", err)
		}
		f := Flush{Frames: []byte("more"), Ends: []int32{4}}
		if _, err := c.WriteFrames(&f); !errors.Is(err, ErrClosed) {
			t.Errorf("WriteFrames after close: %v", err)
		}
		if _, err := client.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		for range sent {
			if _, err := readFrame(client); err != nil {
				t.Fatal(err)
			}
		}
		rest, err := io.ReadAll(client)
		if err != nil || !bytes.Equal(rest, []byte{opClose, 2, 0x10, 0x69}) {
			t.Fatalf("got % x, %v", rest, err)
		}
		_ = client.Close()
		select {
		case <-o.gone:
		case <-time.After(wait):
			t.Fatal("the connection does not end")
		}
		if len(o.read) > 0 {
			t.Errorf("the reader goes on: %q", <-o.read)
		}
	})
}

// A client that never reads and never closes is given two seconds.
func TestLingerEnds(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		c, o, _ := pair(t, w, func() {})
		fill(t, c)
		c.End([]byte{opClose, 0})
		select {
		case <-o.gone:
		case <-time.After(wait):
			t.Fatal("the connection does not end")
		}
	})
}

func TestReplayedBytesComeFirst(t *testing.T) {
	w := way{name: "replayed", open: func(t *testing.T, s *net.TCPConn, p *Poller, o *owner) *Conn {
		return openStream(t, s, "early", p, o)
	}}
	_, o, client := pair(t, w, func() {})
	if _, err := client.Write([]byte("late")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"early", "late"} {
		if got := <-o.read; got != want {
			t.Fatalf("%q, want %q", got, want)
		}
	}
}

func TestWriteDoesNotAllocate(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		c, _, client := pair(t, w, func() {})
		go func() { _, _ = io.Copy(io.Discard, client) }()
		f := Flush{Frames: []byte("tick"), Ends: []int32{4}}
		if n := testing.AllocsPerRun(200, func() { _, _ = c.WriteFrames(&f) }); n != 0 {
			t.Errorf("%v allocations a write", n)
		}
	})
}

// Wherever the kernel cuts, what it took, the outbox and the frames that were not begun make up the whole.
func TestKeepWhatFollowsACut(t *testing.T) {
	var f Flush
	for i := range 5 {
		f.Frames = append(f.Frames, frame(i, i)...)
		f.Ends = append(f.Ends, int32(len(f.Frames)))
	}
	for _, outbox := range []string{"", "rest of a frame"} {
		whole := append([]byte(outbox), f.Frames...)
		for n := range len(whole) {
			c := &Conn{out: []byte(outbox)}
			sent := c.keepLocked(&f, n, len(outbox))
			start := 0
			if sent > 0 {
				start = int(f.Ends[sent-1])
			}
			got := append(append(bytes.Clone(whole[:n]), c.out...), f.Frames[start:]...)
			if !bytes.Equal(got, whole) {
				t.Fatalf("cut at %d: %d frames gone, outbox %q", n, sent, c.out)
			}
			if len(c.out) >= len(outbox)+int(f.Ends[0])+5 {
				t.Fatalf("cut at %d: outbox keeps %d bytes, more than one frame's rest", n, len(c.out))
			}
		}
	}
}

// half is a connection whose client has read all but what waits in the outbox, and whose worker has been told so but has
// not written yet.
func half(t *testing.T, w way) (c *Conn, client net.Conn, writable *atomic.Int32) {
	t.Helper()
	writable = &atomic.Int32{}
	c, _, client = pair(t, w, func() { writable.Add(1) })
	sent := fill(t, c)
	if err := c.Say(frame(1000, 10)); err != nil {
		t.Fatal(err)
	}
	for want := range sent {
		if n, err := readFrame(client); err != nil || n != want {
			t.Fatalf("frame %d, %v, want %d", n, err, want)
		}
	}
	natstest.Eventually(t, wait, func() bool { return writable.Load() == 1 }, "the socket cannot be written to")
	return c, client, writable
}

// What is said then does not get stuck, nor does what follows: the kernel tells only of what it has refused.
func TestSaidBeforeTheWorkerWrites(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		c, client, writable := half(t, w)
		if err := c.Say(frame(1001, 10)); err != nil {
			t.Fatal(err)
		}
		var f Flush
		f.Frames = append(f.Frames, frame(1002, 10)...)
		f.Ends = append(f.Ends, int32(len(f.Frames)))
		told, sent := int32(0), false
		natstest.Eventually(t, wait, func() bool { // the worker
			if now := writable.Load(); now != told {
				told = now
				r, err := c.WriteFrames(&f)
				if err != nil {
					t.Fatal(err)
				}
				sent = r.Sent == 1
			}
			return sent
		}, "nobody is told that the socket can be written to")
		for want := 1000; want <= 1002; want++ {
			if n, err := readFrame(client); err != nil || n != want {
				t.Fatalf("frame %d, %v, want %d", n, err, want)
			}
		}
	})
}

// The same with the last frame of an edge that stops.
func TestEndBeforeTheWorkerWrites(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		c, client, _ := half(t, w)
		c.End([]byte{opClose, 0})
		if n, err := readFrame(client); err != nil || n != 1000 {
			t.Fatalf("frame %d, %v", n, err)
		}
		if rest, err := io.ReadAll(client); err != nil || !bytes.Equal(rest, []byte{opClose, 0}) {
			t.Fatalf("% x, %v", rest, err)
		}
	})
}

// A client that has closed his side still gets what was said to him last.
func TestHalfClosedGetsTheLastFrame(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		c, _, client := pair(t, w, func() {})
		sent := fill(t, c)
		c.End([]byte{opClose, 0})
		if err := client.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		for i := range sent {
			if _, err := readFrame(client); err != nil {
				t.Fatalf("frame %d of %d: %v", i, sent, err)
			}
		}
		if rest, err := io.ReadAll(client); err != nil || !bytes.Equal(rest, []byte{opClose, 0}) {
			t.Fatalf("% x, %v", rest, err)
		}
	})
}

// Who ends a connection once more does not cut off the client, who is still being listened to.
func TestEndTwice(t *testing.T) {
	ways(t, func(t *testing.T, w way) {
		c, o, client := pair(t, w, func() {})
		c.End([]byte{opClose, 0})
		if p, err := io.ReadAll(client); len(p) != 2 || err != nil {
			t.Fatalf("read % x, %v", p, err)
		}
		for i := range 2000 {
			if i%10 == 0 {
				c.Finish()
			}
			if _, err := client.Write([]byte("late")); err != nil {
				t.Fatalf("write %d: %v", i, err)
			}
		}
		select {
		case <-o.gone:
			t.Error("the connection has been closed before the client did it")
		default:
		}
	})
}
