package tickfan_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lxzan/gws"
	tickfan "github.com/tickfan/tickfan/libs/sdk/go"
	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
)

func TestReconnectRenewsAndResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEdge()
		c, s := e.dial(t, tickfan.Options{})
		next[tickfan.Connected](t, c)
		subscribe(t, c, s, []string{"BTC-USD"}, tickfan.MaxRate(7))
		subscribe(t, c, s, []string{"ETH-USD"}, tickfan.Every())
		s.tick("BTC-USD", 3, 100, "1")
		s.tick("ETH-USD", 3, 50, "1")
		wantTick(t, c, "BTC-USD", 3, 100)
		wantTick(t, c, "ETH-USD", 3, 50)

		s.sever()
		if lost := next[tickfan.Disconnected](t, c); lost.Err == nil || lost.Retry > 250*time.Millisecond {
			t.Errorf("lost: %+v", lost)
		}
		s = <-e.sessions
		next[tickfan.Connected](t, c)
		for range 2 {
			switch r := s.agree(); r.Mode {
			case session.Latest:
				if len(r.Symbols) != 1 || r.Symbols[0] != "BTC-USD" || r.MaxRate != 7 || r.After != nil {
					t.Errorf("renewed %+v", r)
				}
			case session.Every:
				if len(r.Symbols) != 1 || r.After["ETH-USD"] != (tickfan.Position{Epoch: 3, Seq: 50}) {
					t.Errorf("renewed %+v", r)
				}
			}
		}
		s.tick("BTC-USD", 3, 99, "1") // an edge that lags
		s.tick("BTC-USD", 3, 101, "1")
		s.tick("ETH-USD", 3, 50, "1")
		s.tick("ETH-USD", 3, 51, "1")
		s.tick("ETH-USD", 3, 54, "1")
		wantTick(t, c, "BTC-USD", 3, 101)
		wantTick(t, c, "ETH-USD", 3, 51)
		wantGap(t, c, tickfan.Gap{Symbol: "ETH-USD", Epoch: 3, From: 52, To: 53})
		wantTick(t, c, "ETH-USD", 3, 54)
	})
}

// A symbol without a price when it was subscribed: what is published while the client is away must be told.
func TestReconnectTellsOfFirstTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEdge()
		c, s := e.dial(t, tickfan.Options{})
		next[tickfan.Connected](t, c)
		go s.agree("NEW-USD")
		if _, err := c.Subscribe(t.Context(), []string{"NEW-USD"}, tickfan.Every()); err != nil {
			t.Fatal(err)
		}
		s.sever()
		next[tickfan.Disconnected](t, c)
		s = <-e.sessions
		next[tickfan.Connected](t, c)
		if r := s.agree(); r.After != nil {
			t.Errorf("renewed %+v", r)
		}
		s.tick("NEW-USD", 9, 3, "1")
		wantGap(t, c, tickfan.Gap{Symbol: "NEW-USD", Epoch: 9, From: 1, To: 2})
		wantTick(t, c, "NEW-USD", 9, 3)
	})
}

func TestRenewalsOfManySymbolsFitTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEdge()
		c, s := e.dial(t, tickfan.Options{Encoding: tickfan.JSON})
		next[tickfan.Connected](t, c)
		var symbols []string
		for i := range session.MaxSymbols {
			symbols = append(symbols, fmt.Sprintf("%032d", i))
		}
		subscribe(t, c, s, symbols, tickfan.Every())
		for _, symbol := range symbols {
			s.tick(subject.Symbol(symbol), 1763769600, 1<<40, "1")
			wantTick(t, c, symbol, 1763769600, 1<<40)
		}
		s.sever()
		next[tickfan.Disconnected](t, c)
		s = <-e.sessions
		for n := 0; n < session.MaxSymbols; {
			r := s.agree()
			if size := len(session.AppendRequest(s.format, nil, &r)); size > session.MaxMessage || len(r.After) != len(r.Symbols) {
				t.Fatalf("renewal of %d bytes, %d symbols with %d positions", size, len(r.Symbols), len(r.After))
			}
			n += len(r.Symbols)
		}
	})
}

func TestRefusedRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEdge()
		c, s := e.dial(t, tickfan.Options{Encoding: tickfan.MessagePack}) // where a tick that was not asked for is no fault
		next[tickfan.Connected](t, c)
		subscribe(t, c, s, []string{"BTC-USD"})

		s.sever()
		next[tickfan.Disconnected](t, c)
		s = <-e.sessions
		next[tickfan.Connected](t, c)
		r := <-s.requests
		s.say(session.Message{Op: session.OpError, ID: r.ID, Code: code.Unavailable, Message: "not now"})
		var coded *code.Error
		if lost := next[tickfan.Disconnected](t, c); !errors.As(lost.Err, &coded) || coded.Code != code.Unavailable {
			t.Errorf("lost: %v", lost.Err)
		}

		s = <-e.sessions
		next[tickfan.Connected](t, c)
		r = <-s.requests
		s.say(session.Message{Op: session.OpError, ID: r.ID, Code: code.TooManyUnpriced, Message: "no"})
		if gone := next[tickfan.Unsubscribed](t, c); gone.Err.Code != code.TooManyUnpriced || gone.Symbols[0] != "BTC-USD" {
			t.Errorf("gone: %+v", gone)
		}
		s.tick("BTC-USD", 1, 1, "1")
		s.say(session.Message{Op: session.OpFresh})
		next[tickfan.Fresh](t, c)
	})
}

func TestReconnectWhenTheEdgeSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEdge()
		c, s := e.dial(t, tickfan.Options{Encoding: tickfan.MessagePack}) // where a tick that was not asked for is no fault
		next[tickfan.Connected](t, c)
		said := time.Now()
		s.say(session.Message{Op: session.OpReconnect, AfterMS: 1830, Reason: "drain"})
		time.Sleep(400 * time.Millisecond) // it serves on until it closes
		s.tick("BTC-USD", 1, 1, "1")
		s.close(4200, "drain")
		lost := next[tickfan.Disconnected](t, c)
		var closed *tickfan.CloseError
		if !errors.As(lost.Err, &closed) || closed.Code != code.Drain || closed.Reason != "drain" {
			t.Errorf("lost: %v", lost.Err)
		}
		<-e.sessions
		if after := time.Since(said); after != 1830*time.Millisecond {
			t.Errorf("came back after %s, want 1.83s", after)
		}
		next[tickfan.Connected](t, c)
	})
}

// An edge that drains waits for its clients to go. They do when they were told to, and are served until then.
func TestLeaveWhenTheEdgeSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEdge()
		c, s := e.dial(t, tickfan.Options{})
		next[tickfan.Connected](t, c)
		subscribe(t, c, s, []string{"BTC-USD"})
		said := time.Now()
		s.say(session.Message{Op: session.OpReconnect, AfterMS: 60000, Reason: "drain"})
		s.say(session.Message{Op: session.OpReconnect, AfterMS: 800, Reason: "drain"}) // the last one counts
		time.Sleep(700 * time.Millisecond)
		s.tick("BTC-USD", 1, 1, "1")
		wantTick(t, c, "BTC-USD", 1, 1)
		if lost := next[tickfan.Disconnected](t, c); lost.Retry != 0 {
			t.Errorf("comes back in %s", lost.Retry)
		}
		<-e.sessions
		if after := time.Since(said); after != 800*time.Millisecond {
			t.Errorf("left after %s, want 800 ms", after)
		}
		next[tickfan.Connected](t, c)
	})
}

func TestFatalCloseEndsTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEdge()
		c, s := e.dial(t, tickfan.Options{})
		next[tickfan.Connected](t, c)
		subscribe(t, c, s, []string{"BTC-USD"})
		s.tick("BTC-USD", 1, 1, "1")
		s.say(session.Message{Op: session.OpError, Code: code.BadMessage, Message: "once too often"})
		s.close(4000, "")
		synctest.Wait()
		wantTick(t, c, "BTC-USD", 1, 1) // what came before is still handed out
		for range 2 {
			_, err := c.Next(t.Context())
			var closed *tickfan.CloseError
			var coded *code.Error
			if !errors.As(err, &closed) || closed.Code != code.TooManyErrors || !errors.As(err, &coded) || coded.Code != code.BadMessage {
				t.Errorf("error %v", err)
			}
		}
		var closed *tickfan.CloseError
		if _, err := c.Subscribe(t.Context(), []string{"ETH-USD"}); !errors.As(err, &closed) {
			t.Errorf("subscribe: %v", err)
		}
		time.Sleep(time.Minute)
		if n := e.attempts.Load(); n != 1 {
			t.Errorf("%d connections, want no second one", n)
		}
	})
}

func TestSilentEdgeIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEdge()
		c, s := e.dial(t, tickfan.Options{})
		next[tickfan.Connected](t, c)
		time.Sleep(10 * time.Minute) // its pongs keep it
		s.mute.Store(true)
		for range 10 { // so does anything else
			time.Sleep(40 * time.Second)
			_ = s.ws.WritePing([]byte("alive?"))
		}
		synctest.Wait()
		if s.pongs.Load() != 10 {
			t.Errorf("%d pongs to 10 pings", s.pongs.Load())
		}
		from := time.Now()
		next[tickfan.Disconnected](t, c)
		if after := time.Since(from); after != time.Minute {
			t.Errorf("left after %s of silence, want 1m", after)
		}
		<-e.sessions
		next[tickfan.Connected](t, c)
	})
}

func TestBrokenProtocolIsLeft(t *testing.T) {
	for name, breakIt := range map[string]func(s *fakeSession){
		"text on MessagePack": func(s *fakeSession) { _ = s.ws.WriteMessage(gws.OpcodeText, []byte(`{"op":"fresh"}`)) },
		"no message":          func(s *fakeSession) { _ = s.write([]byte{0xc1}) },
		"no op":               func(s *fakeSession) { s.say(session.Message{}) },
		"tick of no epoch":    func(s *fakeSession) { _ = s.tick("BTC-USD", 0, 1, "1") },
		"gap of nothing":      func(s *fakeSession) { s.say(session.Message{Op: session.OpGap, Epoch: 1, From: 3, To: 2}) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newFakeEdge()
				c, s := e.dial(t, tickfan.Options{})
				next[tickfan.Connected](t, c)
				breakIt(s)
				next[tickfan.Disconnected](t, c)
				next[tickfan.Connected](t, c)
			})
		})
	}
}

func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEdge()
		var down atomic.Bool
		e.dialed = func(string, int) bool { return !down.Load() }
		c, s := e.dial(t, tickfan.Options{})
		next[tickfan.Connected](t, c)
		time.Sleep(time.Hour)
		down.Store(true)
		s.sever()
		most := 250 * time.Millisecond
		short, long := 0, 0
		for range 50 {
			lost := next[tickfan.Disconnected](t, c)
			if lost.Retry > most || lost.Err == nil {
				t.Fatalf("waits %s after %v, want at most %s", lost.Retry, lost.Err, most)
			}
			if lost.Retry < most/2 {
				short++
			} else {
				long++
			}
			most = min(2*most, 10*time.Second)
		}
		if short == 0 || long == 0 { // by chance once in 2^49 runs
			t.Errorf("of 50 waits %d are short and %d long: not spread over the whole time", short, long)
		}
		down.Store(false)
		var last tickfan.Event
		for {
			if last = must(t)(c.Next(t.Context())); last == (tickfan.Connected{URL: "ws://edge/v1/ws"}) {
				break
			}
		}
	})
}

// An edge that takes connections and drops them at once must not be asked ten times a second.
func TestBackoffOfShortConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEdge()
		_, s := e.dial(t, tickfan.Options{})
		s.sever()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		go func() {
			for {
				select {
				case s := <-e.sessions:
					s.sever()
				case <-ctx.Done():
					return
				}
			}
		}()
		<-ctx.Done()
		if n := e.attempts.Load(); n < 60 || n > 300 { // 5 s on average
			t.Errorf("%d connections in ten minutes", n)
		}
	})
}

func TestSeveralURLs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEdge()
		var asked []string
		e.dialed = func(address string, _ int) bool {
			asked = append(asked, address)
			return address != "a:8080"
		}
		c, err := tickfan.Dial(t.Context(), "ws://a:8080, http://b,https://c/feed", tickfan.Options{NetDial: e.pipe})
		if err != nil {
			t.Fatal(err)
		}
		defer e.running.Wait()
		defer c.Close()
		if got := next[tickfan.Connected](t, c).URL; got != "ws://b/v1/ws" {
			t.Errorf("connected to %s", got)
		}
		if got := strings.Join(asked, " "); got != "a:8080 b:80" {
			t.Errorf("asked %s", got)
		}
		// Then any of the others, and the one that was lost when no other will.
		chosen := map[string]int{}
		for range 64 {
			asked = nil
			e.dialed = func(address string, _ int) bool {
				asked = append(asked, address)
				return address == "b:80"
			}
			(<-e.sessions).sever()
			next[tickfan.Disconnected](t, c)
			if got := next[tickfan.Connected](t, c).URL; got != "ws://b/v1/ws" {
				t.Errorf("connected to %s", got)
			}
			chosen[strings.Join(asked, " ")]++
		}
		if chosen["a:8080 c:443 b:80"] == 0 || chosen["c:443 a:8080 b:80"] == 0 || len(chosen) != 2 {
			t.Errorf("asked %v", chosen)
		}
	})
}

func answer(status int, header, body string) string {
	return fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Length: %d\r\n%s\r\n%s", status, http.StatusText(status), len(body), header, body)
}

func TestRefusedHandshake(t *testing.T) {
	for name, test := range map[string]struct {
		answer string
		code   code.Code
		tries  int64
	}{
		"coded":           {answer(403, "", `{"error":{"code":"bad_origin","message":"no"}}`), code.BadOrigin, 1},
		"no edge":         {answer(404, "", "404 page not found"), "", 1},
		"no WebSocket":    {answer(200, "", "<html>"), "", 1},
		"other protocol":  {"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "", 1},
		"full":            {answer(503, "Retry-After: 20\r\n", `{"error":{"code":"too_many_clients","message":"full"}}`), code.TooManyClients, 3},
		"too many tries":  {answer(429, "Retry-After: 20\r\n", ""), "", 3},
		"cut in the head": {"HTTP/1.1 101", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newFakeEdge()
				e.refuse = func(int64) string { return test.answer }
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
				defer cancel()
				_, err := tickfan.Dial(ctx, "ws://edge", tickfan.Options{NetDial: e.pipe})
				e.running.Wait()
				if err == nil {
					t.Fatal("no error")
				}
				var coded *code.Error
				if errors.As(err, &coded) != (test.code != "") || coded != nil && coded.Code != test.code {
					t.Errorf("error %v, want code %q", err, test.code)
				}
				if n := e.attempts.Load(); test.tries > 0 && n != test.tries || n == 0 {
					t.Errorf("%d attempts, want %d", n, test.tries)
				}
				if test.tries != 1 && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("error %v, want the deadline in it", err)
				}
			})
		})
	}
}

// After the first connection an answer that is not an edge's is a proxy's whose edges are away for a moment.
func TestProxyWithoutEdges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEdge()
		e.refuse = func(n int64) string {
			switch n {
			case 1:
				return answer(404, "", "default backend")
			case 3:
				return answer(403, "", `{"error":{"code":"bad_origin","message":"no"}}`)
			}
			return ""
		}
		c, s := e.dial(t, tickfan.Options{})
		next[tickfan.Connected](t, c)
		s.sever()
		next[tickfan.Disconnected](t, c)
		next[tickfan.Disconnected](t, c)
		next[tickfan.Connected](t, c)
		(<-e.sessions).sever()
		next[tickfan.Disconnected](t, c)
		_, err := c.Next(t.Context())
		var coded *code.Error
		if !errors.As(err, &coded) || coded.Code != code.BadOrigin {
			t.Errorf("error %v", err)
		}
	})
}

func TestDialEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEdge()
		e.dialed = func(string, int) bool { return false }
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := tickfan.Dial(ctx, "ws://edge", tickfan.Options{NetDial: e.pipe})
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "refused by the test") {
			t.Errorf("error %v, want the deadline and the last fault", err)
		}
		for _, bad := range []string{"", "edge:8080", "ftp://edge", "ws://", "ws://a,,ws://b", "ws://a b"} {
			if _, err := tickfan.Dial(t.Context(), bad, tickfan.Options{}); err == nil {
				t.Errorf("dialed %q", bad)
			}
		}
	})
}

func TestCallsWithoutAConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEdge()
		var down atomic.Bool
		e.dialed = func(string, int) bool { return !down.Load() }
		c, s := e.dial(t, tickfan.Options{})
		next[tickfan.Connected](t, c)
		subscribe(t, c, s, []string{"BTC-USD", "ETH-USD"})

		down.Store(true)
		answered := make(chan error, 1)
		go func() {
			_, err := c.Subscribe(t.Context(), []string{"SOL-USD"}) // on its way when the edge dies
			answered <- err
		}()
		<-s.requests
		s.sever()
		synctest.Wait()
		if err := c.Unsubscribe(t.Context(), "ETH-USD"); err != nil { // done by having no connection
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Subscribe(ctx, []string{"ADA-USD"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the deadline", err)
		}
		down.Store(false)
		s = <-e.sessions
		if r := s.agree(); len(r.Symbols) != 1 || r.Symbols[0] != "BTC-USD" {
			t.Errorf("renewed %+v", r)
		}
		if r := s.agree(); len(r.Symbols) != 1 || r.Symbols[0] != "SOL-USD" {
			t.Errorf("asked again for %+v", r)
		}
		if err := <-answered; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if len(s.requests) > 0 {
			t.Errorf("asked for %+v, which was given up", <-s.requests)
		}
	})
}

// Close must not wait for anything: not for a back-off, a dial, a full buffer or an edge that reads nothing.
func TestCloseAtAnyMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEdge()
		e.dialed = func(_ string, n int) bool { return n == 1 }
		c, s := e.dial(t, tickfan.Options{})
		s.sever()
		time.Sleep(time.Minute)
		from := time.Now()
		c.Close()
		if d := time.Since(from); d > 0 {
			t.Errorf("closing in back-off took %s", d)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEdge()
		c, s := e.dial(t, tickfan.Options{Buffer: 1})
		subscribe(t, c, s, []string{"BTC-USD"}, tickfan.Every())
		go func() {
			for seq := uint64(1); s.tick("BTC-USD", 1, seq, "1") == nil; seq++ {
			}
		}()
		synctest.Wait()
		from := time.Now()
		c.Close()
		if d := time.Since(from); d > 2*time.Second {
			t.Errorf("closing with a full buffer took %s", d)
		}
	})
}

// A write that an edge takes no byte of must not hold up Close until it times out. (Not in a bubble: gws waits for it
// on a mutex.)
func TestCloseWhileAWriteIsStuck(t *testing.T) {
	e := newFakeEdge()
	e.stuck.Store(true)
	c, err := tickfan.Dial(t.Context(), "ws://edge", tickfan.Options{NetDial: e.pipe})
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	go func() {
		c.Close()
		close(closed)
	}()
	select {
	case <-closed: // after a second
	case <-time.After(9 * time.Second): // a write times out after ten
		t.Error("still closing")
	}
	close(e.free)
	e.running.Wait()
	<-closed
}

// A gap that runs to the end of an epoch leaves a position that the protocol can say.
func TestResumeAfterAnOpenGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEdge()
		c, s := e.dial(t, tickfan.Options{})
		next[tickfan.Connected](t, c)
		subscribe(t, c, s, []string{"BTC-USD"}, tickfan.Every())
		s.tick("BTC-USD", 5, 1, "1")
		s.say(session.Message{Op: session.OpGap, Symbol: "BTC-USD", Epoch: 5, From: 2})
		wantTick(t, c, "BTC-USD", 5, 1)
		wantGap(t, c, tickfan.Gap{Symbol: "BTC-USD", Epoch: 5, From: 2})
		s.sever()
		next[tickfan.Disconnected](t, c)
		s = <-e.sessions
		next[tickfan.Connected](t, c)
		if r := s.agree(); r.After["BTC-USD"] != (tickfan.Position{Epoch: 5, Seq: 1<<53 - 1}) {
			t.Errorf("asked for %+v", r)
		}
		s.tick("BTC-USD", 6, 1, "1")
		wantTick(t, c, "BTC-USD", 6, 1)
	})
}
