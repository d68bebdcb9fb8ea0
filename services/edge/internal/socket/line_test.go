package socket

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/tickfan/tickfan/libs/natstest"
)

// pile writes numbered frames of 1 KB, n at a time, until the outbox holds the rest of some, and gives how many there are.
func pile(t *testing.T, c *Conn, n int) (sent int) {
	t.Helper()
	var f Flush
	for range 100 {
		f.Reset()
		for i := range n {
			f.Frames = append(f.Frames, frame(sent+i, 1000)...)
			f.Ends = append(f.Ends, int32(len(f.Frames)))
		}
		r, err := c.WriteFrames(&f)
		if err != nil {
			t.Fatal(err)
		}
		if r.Sent != 0 && r.Sent != n {
			t.Fatalf("%d of %d frames are gone: what is encrypted is, whole", r.Sent, n)
		}
		sent += r.Sent
		if c.mu.Lock(); len(c.out) > 0 {
			c.mu.Unlock()
			return sent
		}
		c.mu.Unlock()
		if r.Blocked {
			t.Fatal("the kernel takes a flush of this size whole, or nothing")
		}
	}
	t.Fatal("the socket never refuses")
	return 0
}

// A flush that the kernel cut goes on where it was cut, whatever is said meanwhile: the client decrypts all of it, and the
// answers behind it.
func TestCutFlushDecrypts(t *testing.T) {
	w := overTLS(t)
	writable := make(chan struct{}, 1)
	c, _, client := pair(t, w, func() {
		select {
		case writable <- struct{}{}:
		default:
		}
	})
	sent := pile(t, c, 100)
	for i := range 10 {
		if err := c.Say(frame(5000+i, 10)); err != nil {
			t.Fatal(err)
		}
	}
	var f Flush
	f.Frames = append(f.Frames, frame(9999, 10)...)
	f.Ends = append(f.Ends, int32(len(f.Frames)))
	if r, err := c.WriteFrames(&f); err != nil || r.Sent != 0 || !r.Blocked {
		t.Fatalf("%+v, %v: a tick is encrypted behind a full pipe", r, err)
	}
	got := make(chan error, 1)
	go func() {
		for i := range sent + 11 {
			want := i
			if i >= sent {
				want = 5000 + i - sent
			}
			if i == sent+10 {
				want = 9999
			}
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
	for {
		select {
		case <-writable:
		case <-time.After(wait):
			t.Fatal("the socket never can be written to again")
		}
		r, err := c.WriteFrames(&f)
		if err != nil {
			t.Fatal(err)
		}
		if r.Sent == 1 {
			break
		}
	}
	select {
	case err := <-got:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(wait):
		t.Fatal("not all frames came")
	}
}

// What waits for a client that does not read is one flush and 64 KB of answers.
func TestSecuredOutboxIsBounded(t *testing.T) {
	c, _, _ := pair(t, overTLS(t), func() {})
	pile(t, c, 100)
	c.mu.Lock()
	out := len(c.out)
	c.mu.Unlock()
	if out > 110<<10 {
		t.Errorf("%d bytes of a flush of 100 KB wait", out)
	}
	var err error
	for i := 0; err == nil; i++ {
		if i > MaxOutbox/1000 {
			t.Fatal("the outbox takes more than it may")
		}
		err = c.Say(frame(i, 1000-8))
	}
	if !errors.Is(err, ErrFull) {
		t.Errorf("got %v", err)
	}
	if c.SayIfIdle([]byte("ping")) {
		t.Error("a ping is said into a full pipe")
	}
}

// TLS says by itself why it ends, through the outbox like all else.
func TestAlertArrives(t *testing.T) {
	_, o, client := pair(t, overTLS(t), func() {})
	secret := client.(*tls.Conn)
	if _, err := secret.NetConn().Write([]byte("\x17\x03\x03\x00\x20" + "0123456789abcdef0123456789abcdef")); err != nil {
		t.Fatal(err)
	}
	_ = secret.SetReadDeadline(time.Now().Add(wait))
	var alert *net.OpError
	if _, err := io.ReadAll(client); !errors.As(err, &alert) || alert.Op != "remote error" {
		t.Errorf("got %v", err)
	}
	_ = client.Close()
	natstest.Eventually(t, wait, func() bool {
		select {
		case <-o.gone:
			return true
		default:
			return false
		}
	}, "the connection does not end")
}

// Deadlines end handshakes and requests, and do nothing any more once a stream has the connection.
func TestDeadlinesUntilStream(t *testing.T) {
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
	c := NewTLS(s.(*net.TCPConn), &tls.Config{})
	defer c.Close()
	if err := c.SetDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if timeout := net.Error(nil); !errors.As(c.Handshake(), &timeout) || !timeout.Timeout() {
		t.Error("a handshake has no deadline")
	}
	c2, o, client2 := pair(t, overTLS(t), func() {})
	if err := c2.stream.secured.tls.SetDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if err := c2.Say(frame(1, 10)); err != nil {
		t.Fatal(err)
	}
	if n, err := readFrame(client2); n != 1 || err != nil {
		t.Errorf("frame %d, %v", n, err)
	}
	if _, err := client2.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if got := <-o.read; got != "x" {
		t.Errorf("read %q", got)
	}
}
