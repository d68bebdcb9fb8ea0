package front

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/libs/quiet"
	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/services/edge/internal/certtest"
	"github.com/tickfan/tickfan/services/edge/internal/socket"
)

func TestMain(m *testing.M) { natstest.Main(m) }

const wait = 10 * time.Second

// served is a Front and how to reach it.
type served struct {
	*Front
	t       *testing.T
	pollers *socket.Pollers
	addr    string
	client  *tls.Config // nil: plain
}

// ways runs f with each way of accepting: by the pollers, where there are any, by net/http, and by net/http over TLS.
func ways(t *testing.T, requestTime time.Duration, f func(t *testing.T, s *served)) {
	for _, way := range accepting() {
		t.Run(way, func(t *testing.T) { f(t, start(t, way, requestTime)) })
	}
}

const (
	byPollers = "pollers"
	byHTTP    = "net/http"
	overTLS   = "tls"
)

func start(t *testing.T, way string, requestTime time.Duration) *served {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s := &served{t: t, addr: ln.Addr().String()}
	if s.pollers, err = socket.NewPollers(2, func() int64 { return int64(time.Since(began)) + 1 }); err != nil {
		t.Fatal(err)
	}
	o := Options{Listener: ln, Log: slog.New(slog.DiscardHandler), Refused: func(code.Code) {}, RequestTime: requestTime}
	switch way {
	case byPollers:
		o.Pollers = s.pollers
	case overTLS:
		a := certtest.NewAuthority(t)
		cert, err := tls.X509KeyPair(a.Pair("front", time.Now().Add(time.Hour)))
		if err != nil {
			t.Fatal(err)
		}
		o.TLS, s.client = &tls.Config{Certificates: []tls.Certificate{cert}}, a.Client()
	}
	if s.Front, err = New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.end)
	return s
}

func (s *served) end() {
	s.Close()
	s.pollers.Close()
}

// open has it answer "<method> <path> <body>", with room for so many connections.
func (s *served) open(limit int) {
	s.Open(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.Path, p)
	}), func() int { return limit - s.Conns() })
}

// tcp is a connection of which nothing has been said, nor of TLS.
func (s *served) tcp() net.Conn {
	s.t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(wait))
	return c
}

// dial is a connection that can speak.
func (s *served) dial() net.Conn {
	s.t.Helper()
	c := s.tcp()
	if s.client == nil {
		return c
	}
	secure := tls.Client(c, s.client)
	if err := secure.Handshake(); err != nil {
		s.t.Fatal(err)
	}
	return secure
}

// answer reads one, and gives its status and body.
func answer(t *testing.T, br *bufio.Reader) (*http.Response, string) {
	t.Helper()
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	p, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(p)
}

// say writes and gives the answer; the connection stays open.
func say(t *testing.T, c net.Conn, text string) (*http.Response, string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return answer(t, bufio.NewReader(c))
}

// ended waits until the server has closed the connection.
func ended(t *testing.T, c net.Conn, what string) {
	t.Helper()
	if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%s: the connection is not closed", what)
	}
}

func (s *served) counts(want int) {
	s.t.Helper()
	natstest.Eventually(s.t, wait, func() bool { return s.Conns() == want }, "it does not come to %d connections", want)
}

const plain, upgrade = "GET /plain HTTP/1.1\r\nHost: x\r\n\r\n", "GET /upgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"

// A request may come in any pieces.
func TestRequestInPieces(t *testing.T) {
	ways(t, 0, func(t *testing.T, s *served) {
		s.open(10)
		post := "POST /post HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
		for text, want := range map[string]string{plain: "GET /plain ", upgrade: "GET /upgrade ", post: "POST /post hello"} {
			c := s.dial()
			for i := range text {
				if _, err := io.WriteString(c, text[i:i+1]); err != nil {
					t.Fatal(err)
				}
			}
			if resp, got := answer(t, bufio.NewReader(c)); resp.StatusCode != http.StatusOK || got != want {
				t.Errorf("%d %q, want %q", resp.StatusCode, got, want)
			}
			_ = c.Close()
		}
		s.counts(0)
	})
}

// Requests that are sent without waiting for answers are answered in order; what was read of them before net/http had the
// connection is not lost.
func TestPipelinedRequests(t *testing.T) {
	ways(t, 0, func(t *testing.T, s *served) {
		s.open(10)
		c := s.dial()
		var all strings.Builder
		const n = 50
		for i := range n {
			fmt.Fprintf(&all, "GET /%d HTTP/1.1\r\nHost: x\r\n\r\n", i)
		}
		go func() { _, _ = io.WriteString(c, all.String()) }()
		br := bufio.NewReader(c)
		for i := range n {
			if _, got := answer(t, br); got != fmt.Sprintf("GET /%d ", i) {
				t.Fatalf("answer %d is %q", i, got)
			}
		}
		_ = c.Close()
		s.counts(0)
	})
}

func TestHeadTooLong(t *testing.T) {
	ways(t, 0, func(t *testing.T, s *served) {
		s.open(10)
		c := s.dial()
		go func() { // cut off somewhere
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: x\r\nA: "+strings.Repeat("x", 4*maxHeader))
		}()
		if resp, _ := answer(t, bufio.NewReader(c)); resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("got %s", resp.Status)
		}
		_ = c.Close()
		s.counts(0)
	})
}

func TestNonsense(t *testing.T) {
	ways(t, 0, func(t *testing.T, s *served) {
		s.open(10)
		if resp, _ := say(t, s.dial(), "\x16\x03\x01 hello\r\n\r\n"); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("got %s", resp.Status)
		}
		s.counts(0)
	})
}

// Who connects and says nothing, or does not finish what he says, is closed when his time is over.
func TestSilenceEnds(t *testing.T) {
	ways(t, 100*time.Millisecond, func(t *testing.T, s *served) {
		s.open(10)
		s.counts(0)
		silent := map[string]net.Conn{"says nothing": s.tcp()}
		for what, text := range map[string]string{"no end of the first line": "GET /", "no end of the head": "GET / HTTP/1.1\r\nHost: x\r\n",
			"no end of an upgrade": upgrade[:len(upgrade)-2], "no body": "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"} {
			c := s.dial()
			if _, err := io.WriteString(c, text); err != nil {
				t.Fatal(err)
			}
			silent[what] = c
		}
		if s.client != nil {
			c := s.tcp()
			if _, err := io.WriteString(c, "\x16\x03\x01\x02\x00\x01"); err != nil { // the beginning of a hello
				t.Fatal(err)
			}
			silent["no end of a TLS hello"], silent["nothing after the TLS handshake"] = c, s.dial()
		}
		for what, c := range silent {
			ended(t, c, what)
		}
		s.counts(0)
	})
}

// Connections of plain HTTP count as well, also those between two requests; who finds no room is told so.
func TestNoRoom(t *testing.T) {
	ways(t, 0, func(t *testing.T, s *served) {
		s.open(2)
		kept := []net.Conn{s.dial(), s.dial()}
		for _, c := range kept {
			if resp, _ := say(t, c, plain); resp.StatusCode != http.StatusOK {
				t.Fatalf("got %s", resp.Status)
			}
		}
		s.counts(2)
		for _, text := range []string{plain, upgrade} {
			resp, body := say(t, s.dial(), text)
			if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || !strings.Contains(body, `"too_many_clients"`) {
				t.Errorf("got %s %v %s", resp.Status, resp.Header, body)
			}
		}
		s.counts(2)
		_ = kept[0].Close()
		s.counts(1)
		if resp, _ := say(t, s.dial(), plain); resp.StatusCode != http.StatusOK {
			t.Errorf("when there is room again: %s", resp.Status)
		}
	})
}

// Silent connections take all the room there is for being refused: others are told nevertheless, soon.
func TestSilenceMakesRoom(t *testing.T) {
	if !slices.Contains(accepting(), byPollers) {
		t.Skip("net/http reads handshakes here")
	}
	s := start(t, byPollers, time.Hour)
	s.open(0)
	for range spare + 50 {
		s.tcp()
	}
	if resp, body := say(t, s.dial(), plain); resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, `"too_many_clients"`) {
		t.Errorf("got %s %s", resp.Status, body)
	}
}

func TestNotOpenYet(t *testing.T) {
	ways(t, 0, func(t *testing.T, s *served) {
		for _, text := range []string{plain, upgrade} {
			resp, body := say(t, s.dial(), text)
			if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || !strings.Contains(body, `"unavailable"`) {
				t.Errorf("got %s %v %s", resp.Status, resp.Header, body)
			}
		}
		s.counts(0)
	})
}

// The end waits for nobody who has not said what he wants, and nobody stays.
func TestCloseDuringHandshakes(t *testing.T) {
	ways(t, 0, func(t *testing.T, s *served) {
		s.open(100)
		var all []net.Conn
		for range 20 {
			half := s.dial()
			if _, err := io.WriteString(half, upgrade[:len(upgrade)-1]); err != nil {
				t.Fatal(err)
			}
			all = append(all, s.tcp(), half)
		}
		s.counts(len(all))
		began := time.Now()
		s.end()
		if took := time.Since(began); took > wait/2 {
			t.Errorf("it took %s to end", took)
		}
		for _, c := range all {
			ended(t, c, "at the end")
		}
		s.counts(0)
	})
}

// It ends also while so many are there that no more are accepted.
func TestCloseWhenCrowded(t *testing.T) {
	ways(t, 0, func(t *testing.T, s *served) {
		asked := make(chan struct{}, 1000)
		s.Open(http.NotFoundHandler(), func() int {
			asked <- struct{}{}
			return -spare - 1
		})
		c := s.tcp()
		<-asked
		done := make(chan struct{})
		go func() { defer close(done); s.end() }()
		select {
		case <-done:
		case <-time.After(wait):
			t.Fatal("it does not end")
		}
		ended(t, c, "at the end")
	})
}

// Clients that fail are told of once.
func TestFaultsAreFew(t *testing.T) {
	var b bytes.Buffer
	f := faults{quiet.New(slog.New(slog.NewTextHandler(&b, nil)), logEvery)}
	for range 100 {
		_, _ = f.Write([]byte("http: TLS handshake error\n"))
	}
	if got := b.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "handshake error") {
		t.Errorf("log is %q", got)
	}
}
