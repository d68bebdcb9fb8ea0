package tickfan_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	tickfan "github.com/tickfan/tickfan/libs/sdk/go"
)

// exampleEdge is a fakeEdge on a TCP port that has a price for two symbols.
type exampleEdge struct {
	url  string
	stop func()
}

func startExampleEdge() exampleEdge {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	e := newFakeEdge()
	e.listen(l)
	e.running.Go(func() {
		s := <-e.sessions
		s.agree()
		s.tick("BTC-USD", 1763769600, 1042, "64123.51")
		s.tick("ETH-USD", 1763769600, 977, "3377.40")
	})
	return exampleEdge{url: "http://" + l.Addr().String(), stop: func() {
		l.Close()
		e.running.Wait()
	}}
}

// listen serves what l accepts until it is closed.
func (e *fakeEdge) listen(l net.Listener) {
	e.running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			e.running.Go(func() { e.serve(conn) })
		}
	})
}

func TestTLS(t *testing.T) {
	certified := httptest.NewTLSServer(nil) // for its certificate
	defer certified.Close()
	l, err := tls.Listen("tcp", "127.0.0.1:0", certified.TLS)
	if err != nil {
		t.Fatal(err)
	}
	e := newFakeEdge()
	e.listen(l)
	defer e.running.Wait()
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()

	// A certificate that is not trusted will not be trusted at the next attempt either.
	_, err = tickfan.Dial(ctx, "https://"+l.Addr().String(), tickfan.Options{})
	var untrusted *tls.CertificateVerificationError
	if !errors.As(err, &untrusted) {
		t.Errorf("error %v", err)
	}

	// Who writes http:// is told what to write. (certified is net/http's own server, as the edge's is.)
	_, err = tickfan.Dial(ctx, "http://"+certified.Listener.Addr().String(), tickfan.Options{})
	if err == nil || !strings.Contains(err.Error(), "https://") {
		t.Errorf("without TLS: %v", err)
	}

	roots := certified.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	c, err := tickfan.Dial(ctx, "https://"+l.Addr().String(), tickfan.Options{TLS: &tls.Config{RootCAs: roots}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s := <-e.sessions
	next[tickfan.Connected](t, c)
	subscribe(t, c, s, []string{"BTC-USD"})
	s.tick("BTC-USD", 1, 1, "1")
	wantTick(t, c, "BTC-USD", 1, 1)
}

// Over TCP a client that does not read is noticed by the edge, and loses nothing when it reads again.
func TestSlowReaderOverTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := newFakeEdge()
	e.listen(l)
	defer e.running.Wait()
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := tickfan.Dial(ctx, "ws://"+l.Addr().String(), tickfan.Options{Buffer: 16, NetDial: smallWindow})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s := <-e.sessions
	subscribe(t, c, s, []string{"BTC-USD"}, tickfan.Every())

	blocked := make(chan uint64, 1)
	const most = 1_000_000 // 90 MB, more than any kernel holds for a socket
	if err := s.conn.(*net.TCPConn).SetWriteBuffer(16 << 10); err != nil {
		t.Fatal(err)
	}
	go func() {
		price := "0." + strings.Repeat("1", 12)
		for seq := uint64(1); seq <= most; seq++ {
			if err := s.conn.SetWriteDeadline(time.Now().Add(time.Second)); err != nil || s.tick("BTC-USD", 1, seq, price) != nil {
				blocked <- seq
				return
			}
		}
		blocked <- 0
	}()
	end := <-blocked
	if end == 0 {
		t.Fatalf("%d ticks went to a client that did not read", most)
	}
	// The edge gave up in the middle of a tick. All that came before is handed out in order, then the client asks for
	// the rest. (What lay in the kernel is lost if a ping meets the closed socket first, so how much that is is open.)
	next[tickfan.Connected](t, c)
	last := uint64(0)
	for {
		event, err := c.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := event.(tickfan.Tick); ok && got.Seq == last+1 {
			last++
			continue
		}
		if _, ok := event.(tickfan.Disconnected); !ok {
			t.Fatalf("%#v after tick %d", event, last)
		}
		break
	}
	if last < 16 || last >= end {
		t.Errorf("%d ticks of %d", last, end)
	}
	s = <-e.sessions
	if r := s.agree(); r.After["BTC-USD"] != (tickfan.Position{Epoch: 1, Seq: last}) {
		t.Errorf("asked for %+v after %d", r, last)
	}
}

// smallWindow dials with a small receive buffer, so that little fills it.
func smallWindow(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err == nil {
		err = conn.(*net.TCPConn).SetReadBuffer(16 << 10)
	}
	return conn, err
}
