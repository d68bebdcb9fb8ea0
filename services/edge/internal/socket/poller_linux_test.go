package socket

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tickfan/tickfan/libs/natstest"
)

func moreWays() []way { return []way{polled(&collector{})} }

// polled is a connection that the poller reads.
func polled(r *collector) way {
	return way{name: "polled", open: func(t *testing.T, s *net.TCPConn, p *Poller, o *owner) *Conn {
		t.Helper()
		fd := dup(t, s)
		r.owner = o
		if err := p.Adopt(fd, r, time.Hour); err != nil {
			t.Fatal(err)
		}
		p.queueNew(t)
		return p.conn(int32(fd))
	}}
}

func dup(t *testing.T, s *net.TCPConn) int {
	t.Helper()
	f, err := s.File()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.Close(), s.Close()
	return fd
}

// queueNew waits until the loop has registered what was adopted.
func (p *Poller) queueNew(t *testing.T) {
	t.Helper()
	natstest.Eventually(t, wait, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.adopts) == 0 && len(p.conns) > 0
	}, "the poller registers nothing")
}

// collector uses bytes as its owner is told, all of them by default.
type collector struct {
	*owner
	use func(c *Conn, p []byte) int
}

func (r *collector) Received(c *Conn, p []byte) int {
	if r.use != nil {
		return r.use(c, p)
	}
	r.read <- string(p)
	return len(p)
}

func (r *collector) Gone(*Conn) { close(r.gone) }

// Lines may come in any pieces: a reader gets the rest of a piece again, with more behind it, and nothing twice.
func TestPiecesAreJoined(t *testing.T) {
	var r collector
	r.use = func(_ *Conn, p []byte) (used int) {
		for {
			line, _, ok := strings.Cut(string(p[used:]), "\n")
			if !ok {
				return used
			}
			r.read <- line
			used += len(line) + 1
		}
	}
	_, o, client := pair(t, polled(&r), func() {})
	var all strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&all, "%d%s\n", i, strings.Repeat("x", i%300))
	}
	go func() {
		text := all.String()
		for i := 0; len(text) > 0; i++ {
			n := min(1+i*i%700, len(text))
			if _, err := io.WriteString(client, text[:n]); err != nil {
				return
			}
			text = text[n:]
		}
	}()
	for i := range 2000 {
		select {
		case line := <-o.read:
			if line != fmt.Sprint(i)+strings.Repeat("x", i%300) {
				t.Fatalf("line %d is %q", i, line)
			}
		case <-time.After(wait):
			t.Fatalf("line %d does not come", i)
		}
	}
}

// While a request is not answered nothing more of the connection is used, and what came meanwhile comes afterwards,
// without another event from the kernel.
func TestOneRequestAtATime(t *testing.T) {
	var r collector
	busy := make(chan *Conn, 100)
	r.use = func(c *Conn, p []byte) (used int) {
		for used < len(p) && !c.Paused() {
			r.read <- string(p[used : used+1])
			used++
			c.Begin()
			busy <- c
		}
		return used
	}
	_, o, client := pair(t, polled(&r), func() {})
	const text = "abcdefghij"
	for _, s := range []string{text[:4], text[4:5], text[5:]} {
		if _, err := io.WriteString(client, s); err != nil {
			t.Fatal(err)
		}
	}
	for i := range len(text) {
		select {
		case got := <-o.read:
			if got != text[i:i+1] {
				t.Fatalf("got %q, want %q", got, text[i:i+1])
			}
		case <-time.After(wait):
			t.Fatalf("%q does not come", text[i:i+1])
		}
		if len(o.read) > 0 {
			t.Fatal("more was used before the request was answered")
		}
		(<-busy).Done()
	}
}

// Who rests after each byte lets others in between, and is gone on with by itself.
func TestRestLetsOthersIn(t *testing.T) {
	p, err := NewPoller(func() int64 { return 1 })
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	begun, let := make(chan struct{}), make(chan struct{})
	order := make(chan byte, 1000)
	open := func(use func(c *Conn, p []byte) int) net.Conn {
		client, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		s, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Adopt(dup(t, s.(*net.TCPConn)), &collector{&owner{gone: make(chan struct{})}, use}, time.Hour); err != nil {
			t.Fatal(err)
		}
		return client
	}
	first := true
	busy := open(func(c *Conn, p []byte) (used int) {
		for used < len(p) && !c.Paused() {
			if first {
				first = false
				close(begun)
				<-let
			}
			order <- p[used]
			used++
			c.Rest()
		}
		return used
	})
	other := open(func(_ *Conn, p []byte) int {
		order <- 'x'
		return len(p)
	})
	p.queueNew(t)
	text := strings.Repeat("0123456789", 50)
	if _, err := io.WriteString(busy, text); err != nil {
		t.Fatal(err)
	}
	<-begun
	if _, err := io.WriteString(other, "x"); err != nil {
		t.Fatal(err)
	}
	close(let)
	var got []byte
	for len(got) <= len(text) {
		select {
		case b := <-order:
			got = append(got, b)
		case <-time.After(wait):
			t.Fatalf("no more comes after %d bytes", len(got))
		}
	}
	if at := strings.IndexByte(string(got), 'x'); at > 10 || strings.Replace(string(got), "x", "", 1) != text {
		t.Errorf("the other had to wait for %d bytes: %q", at, got)
	}
}

// Who says nothing is closed when his time is over, unless another reader has taken the connection.
func TestTimeLimit(t *testing.T) {
	limited := func(r *collector) way {
		w := polled(r)
		return way{name: w.name, open: func(t *testing.T, s *net.TCPConn, p *Poller, o *owner) *Conn {
			r.owner = o
			if err := p.Adopt(dup(t, s), r, 20*time.Millisecond); err != nil {
				t.Fatal(err)
			}
			return &Conn{poller: p, fd: -1}
		}}
	}
	_, o, client := pair(t, limited(&collector{}), func() {})
	select {
	case <-o.gone:
	case <-time.After(wait):
		t.Fatal("the connection is not closed")
	}
	if _, err := client.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the client sees %v", err)
	}
}

// A connection that is taken away from the poller stays open.
func TestDetach(t *testing.T) {
	var r collector
	fds := make(chan int, 1)
	r.use = func(c *Conn, p []byte) int {
		r.read <- string(p)
		fds <- c.Detach()
		close(r.gone) // for pair
		return 0
	}
	_, _, client := pair(t, polled(&r), func() {})
	if _, err := io.WriteString(client, "hello"); err != nil {
		t.Fatal(err)
	}
	fd := <-fds
	defer unix.Close(fd)
	if got := <-r.read; got != "hello" {
		t.Errorf("got %q", got)
	}
	if _, err := unix.Write(fd, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}
}

// A poller that ends closes what it reads.
func TestCloseClosesAll(t *testing.T) {
	p, err := NewPoller(func() int64 { return 1 })
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
	defer client.Close()
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	r := &collector{owner: &owner{gone: make(chan struct{})}}
	if err := p.Adopt(dup(t, s.(*net.TCPConn)), r, time.Hour); err != nil {
		t.Fatal(err)
	}
	p.Close()
	select {
	case <-r.gone:
	default:
		t.Error("it is not told")
	}
	if _, err := client.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the client sees %v", err)
	}
}

// Who sends faster than he is served has no more of it kept than is read at once, however often he is gone on with.
func TestFloodIsNotKept(t *testing.T) {
	const message, total = 50, 4 << 20
	var r collector
	begun := make(chan *Conn, 1)
	most, all := 0, make(chan struct{})
	got := 0
	r.use = func(c *Conn, p []byte) (used int) {
		most = max(most, len(p))
		for len(p)-used >= message && !c.Paused() {
			used += message
			c.Begin()
			begun <- c
		}
		if got += used; got == total/message*message {
			close(all)
		}
		return used
	}
	_, _, client := pair(t, polled(&r), func() {})
	go func() {
		_, _ = client.Write(make([]byte, total/message*message))
	}()
	for {
		select {
		case c := <-begun:
			c.Done()
			continue
		case <-all:
		case <-time.After(wait):
			t.Fatal("not all is used")
		}
		break
	}
	if most > 2*readSize {
		t.Errorf("%d bytes were kept", most)
	}
	select {
	case c := <-begun:
		c.Done()
	default:
	}
}
