package tickfan_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	tickfan "github.com/tickfan/tickfan/libs/sdk/go"
	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/tick"
)

func TestTicksComeAsPublished(t *testing.T) {
	for _, encoding := range []tickfan.Encoding{tickfan.Best, tickfan.Compact, tickfan.MessagePack, tickfan.JSON} {
		synctest.Test(t, func(t *testing.T) {
			e := newFakeEdge()
			c, s := e.dial(t, tickfan.Options{Encoding: encoding})
			next[tickfan.Connected](t, c)
			subscribe(t, c, s, []string{"BTC-USD"})

			sent := tick.Tick{Symbol: "BTC-USD", Position: tick.Position{Epoch: 1763769600, Seq: 1042}}
			for i, d := range sent.Fields() {
				*d = tick.NewDecimal(6412350+uint64(i), i)
			}
			sent.TS = 1763769600123456
			if err := s.write(s.encode(&sent)); err != nil {
				t.Fatal(err)
			}
			want := tickfan.Tick{Symbol: "BTC-USD", Position: sent.Position, Quote: sent.Quote}
			got := next[tickfan.Tick](t, c)
			if got != want {
				t.Errorf("got %+v\nwant %+v", got, want)
			}
			if got.Bid.String() != "641235.1" || got.Time() != time.UnixMicro(1763769600123456) {
				t.Errorf("bid %s at %s", got.Bid, got.Time())
			}
		})
	}
}

func TestHandshakeSaysWhoWeAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEdge()
		_, s := e.dial(t, tickfan.Options{Header: map[string][]string{"authorization": {"Bearer x"}}})
		h := <-e.headers
		for name, want := range map[string]string{
			"User-Agent": "tickfan-go", "Origin": "", "Authorization": "Bearer x",
			"Sec-Websocket-Protocol": "tickfan.v1.compact, tickfan.v1.msgpack, tickfan.v1.json", "Sec-Websocket-Extensions": "",
		} {
			if got := h.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		if s.path != "/v1/ws" {
			t.Errorf("path %q", s.path)
		}
	})
}

func TestLatestNeverGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEdge()
		c, s := e.dial(t, tickfan.Options{Encoding: tickfan.MessagePack}) // where a tick that was not asked for is no fault
		next[tickfan.Connected](t, c)
		subscribe(t, c, s, []string{"BTC-USD"})
		s.tick("BTC-USD", 2, 7, "1")
		wantTick(t, c, "BTC-USD", 2, 7)
		s.tick("BTC-USD", 2, 7, "1")
		s.tick("BTC-USD", 2, 6, "1")
		s.tick("BTC-USD", 1, 99, "1")
		s.tick("ETH-USD", 2, 1, "1") // never subscribed
		s.say(session.Message{Op: session.OpFresh})
		next[tickfan.Fresh](t, c)
		s.tick("BTC-USD", 2, 9, "1")
		wantTick(t, c, "BTC-USD", 2, 9)
	})
}

func TestLatestIsConflatedForASlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEdge()
		c, s := e.dial(t, tickfan.Options{Buffer: 4})
		next[tickfan.Connected](t, c)
		subscribe(t, c, s, []string{"BTC-USD", "ETH-USD"})
		for i := range uint64(10_000) {
			if s.tick("BTC-USD", 1, i+1, "1") != nil || s.tick("ETH-USD", 1, i+1, "2") != nil {
				t.Fatal("the client stopped reading")
			}
		}
		synctest.Wait()
		wantTick(t, c, "BTC-USD", 1, 10_000)
		wantTick(t, c, "ETH-USD", 1, 10_000)
		s.tick("BTC-USD", 1, 10_001, "1")
		wantTick(t, c, "BTC-USD", 1, 10_001)
	})
}

func TestEveryTickOnceOrAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEdge()
		c, s := e.dial(t, tickfan.Options{})
		next[tickfan.Connected](t, c)
		r := subscribe(t, c, s, []string{"BTC-USD"}, tickfan.Every())
		if r.Mode != session.Every || r.After != nil {
			t.Fatalf("asked for %+v", r)
		}
		gap := func(epoch, from, to uint64) {
			s.say(session.Message{Op: session.OpGap, Symbol: "BTC-USD", Epoch: epoch, From: from, To: to})
		}
		want := func(epoch, from, to uint64) {
			t.Helper()
			wantGap(t, c, tickfan.Gap{Symbol: "BTC-USD", Epoch: epoch, From: from, To: to})
		}
		s.tick("BTC-USD", 5, 10, "1") // the start: what was before is no gap
		s.tick("BTC-USD", 5, 11, "1")
		s.tick("BTC-USD", 5, 11, "1") // twice
		s.tick("BTC-USD", 5, 9, "1")  // before the start
		wantTick(t, c, "BTC-USD", 5, 10)
		wantTick(t, c, "BTC-USD", 5, 11)

		gap(5, 12, 13)
		s.tick("BTC-USD", 5, 13, "1") // told missing: stays missing
		s.tick("BTC-USD", 5, 14, "1")
		want(5, 12, 13)
		wantTick(t, c, "BTC-USD", 5, 14)

		s.tick("BTC-USD", 5, 17, "1") // a hole of which nobody told
		want(5, 15, 16)
		wantTick(t, c, "BTC-USD", 5, 17)

		gap(5, 10, 19) // what we have of it is not missing
		gap(5, 10, 19) // twice
		s.tick("BTC-USD", 5, 20, "1")
		want(5, 18, 19)
		wantTick(t, c, "BTC-USD", 5, 20)

		gap(5, 22, 25) // 21 is missing as well
		want(5, 21, 25)

		gap(5, 26, 0) // to the end of the epoch
		s.tick("BTC-USD", 5, 30, "1")
		s.tick("BTC-USD", 6, 1, "1")
		want(5, 26, 0)
		wantTick(t, c, "BTC-USD", 6, 1)

		s.tick("BTC-USD", 7, 3, "1") // an epoch begins at 1
		want(7, 1, 2)
		wantTick(t, c, "BTC-USD", 7, 3)

		s.tick("BTC-USD", 7, 5, "1") // the smallest hole
		want(7, 4, 4)
		wantTick(t, c, "BTC-USD", 7, 5)
	})
}

func TestChangeOfMode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEdge()
		c, s := e.dial(t, tickfan.Options{})
		next[tickfan.Connected](t, c)
		subscribe(t, c, s, []string{"BTC-USD"}, tickfan.MaxRate(10))
		s.tick("BTC-USD", 1, 1, "1")
		wantTick(t, c, "BTC-USD", 1, 1)

		subscribe(t, c, s, []string{"BTC-USD"}, tickfan.Every())
		s.tick("BTC-USD", 1, 5, "1") // 2 to 4 were never promised
		s.tick("BTC-USD", 1, 6, "1")
		wantTick(t, c, "BTC-USD", 1, 5)
		wantTick(t, c, "BTC-USD", 1, 6)

		r := subscribe(t, c, s, []string{"BTC-USD"}, tickfan.Every(), tickfan.After("BTC-USD", tickfan.Position{Epoch: 1, Seq: 3}))
		if r.After["BTC-USD"] != (tickfan.Position{Epoch: 1, Seq: 3}) {
			t.Fatalf("asked for %+v", r)
		}
		for seq := uint64(4); seq < 8; seq++ { // from there again, because that was asked for
			s.tick("BTC-USD", 1, seq, "1")
			wantTick(t, c, "BTC-USD", 1, seq)
		}

		subscribe(t, c, s, []string{"BTC-USD"})
		s.tick("BTC-USD", 1, 6, "1")
		s.tick("BTC-USD", 1, 20, "1")
		wantTick(t, c, "BTC-USD", 1, 20)

		subscribe(t, c, s, []string{"BTC-USD"}, tickfan.Every()) // a start anew
		s.tick("BTC-USD", 1, 30, "1")
		wantTick(t, c, "BTC-USD", 1, 30)
	})
}

func TestSlowReaderOfEveryHoldsUpTheSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const buffer = 8
		e := newFakeEdge()
		c, s := e.dial(t, tickfan.Options{Buffer: buffer})
		next[tickfan.Connected](t, c)
		subscribe(t, c, s, []string{"BTC-USD"}, tickfan.Every())
		written := make(chan uint64, 1000)
		go func() {
			defer close(written)
			for seq := uint64(1); seq <= 100; seq++ {
				if s.tick("BTC-USD", 1, seq, "1") != nil {
					return
				}
				written <- seq
			}
		}()
		synctest.Wait()
		if n := len(written); n < buffer || n > buffer+1 {
			t.Fatalf("%d ticks were taken off the socket, want %d and at most one in the reader's hands", n, buffer)
		}
		// Held up for long, it stays alive by pongs that ask for no answer.
		pings := s.pings.Load()
		time.Sleep(5 * time.Minute)
		if got := s.pings.Load(); got > pings || s.pongs.Load() < 15 {
			t.Errorf("%d pings and %d pongs in five minutes", got-pings, s.pongs.Load())
		}
		for seq := uint64(1); seq <= 100; seq++ {
			wantTick(t, c, "BTC-USD", 1, seq)
		}
	})
}

func TestSubscribeFromTheReadingLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEdge()
		c, s := e.dial(t, tickfan.Options{Buffer: 2})
		next[tickfan.Connected](t, c)
		subscribe(t, c, s, []string{"BTC-USD"}, tickfan.Every())
		go func() {
			for seq := uint64(1); seq <= 20; seq++ {
				s.tick("BTC-USD", 1, seq, "1")
			}
		}()
		synctest.Wait() // the buffer is full, and this goroutine is the one to empty it
		subscribe(t, c, s, []string{"ETH-USD"})
		for seq := uint64(1); seq <= 20; seq++ {
			wantTick(t, c, "BTC-USD", 1, seq)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestUnsubscribeTakesBackWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEdge()
		c, s := e.dial(t, tickfan.Options{Encoding: tickfan.MessagePack}) // where a tick that was not asked for is no fault
		next[tickfan.Connected](t, c)
		subscribe(t, c, s, []string{"BTC-USD", "SOL-USD"})
		subscribe(t, c, s, []string{"ETH-USD"}, tickfan.Every())
		s.tick("BTC-USD", 1, 1, "1")
		s.tick("ETH-USD", 1, 1, "1")
		s.tick("SOL-USD", 1, 1, "1")
		synctest.Wait()
		go s.agree()
		if err := c.Unsubscribe(t.Context(), "BTC-USD", "ETH-USD"); err != nil {
			t.Fatal(err)
		}
		s.tick("BTC-USD", 1, 2, "1")
		s.tick("SOL-USD", 1, 2, "1")
		synctest.Wait()
		wantTick(t, c, "SOL-USD", 1, 2)
		subscribe(t, c, s, []string{"BTC-USD"})
		s.tick("BTC-USD", 1, 3, "1")
		wantTick(t, c, "BTC-USD", 1, 3)
	})
}

func TestStaleAndFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEdge()
		c, s := e.dial(t, tickfan.Options{})
		next[tickfan.Connected](t, c)
		s.say(session.Message{Op: session.OpStale, AgeMS: 3200})
		if got := next[tickfan.Stale](t, c); got.Age != 3200*time.Millisecond {
			t.Errorf("age %s", got.Age)
		}
		s.say(session.Message{Op: "news of a later version"})
		s.say(session.Message{Op: session.OpFresh})
		next[tickfan.Fresh](t, c)
	})
}

func TestStatesAreBoundedForASlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEdge()
		c, s := e.dial(t, tickfan.Options{})
		subscribe(t, c, s, []string{"BTC-USD"})
		s.tick("BTC-USD", 1, 1, "1")
		for i := range int64(1000) {
			s.say(session.Message{Op: session.OpStale, AgeMS: i})
		}
		synctest.Wait()
		wantTick(t, c, "BTC-USD", 1, 1)
		n := 0
		for last := time.Duration(-1); last != 999*time.Millisecond; n++ {
			last = next[tickfan.Stale](t, c).Age
		}
		if n != 64 {
			t.Errorf("%d states were kept, want the last 64", n)
		}
	})
}

func TestRefusedSubscribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEdge()
		c, s := e.dial(t, tickfan.Options{})
		next[tickfan.Connected](t, c)
		long := make([]string, 10_000)
		for i := range long {
			long[i] = fmt.Sprintf("SYMBOL-%d", i)
		}
		_, err := c.Subscribe(t.Context(), long[:2000])
		var coded *code.Error
		if !errors.As(err, &coded) || coded.Code != code.TooManySymbols || !strings.Contains(coded.Message, "2000 symbols") {
			t.Errorf("error %v", err)
		}
		// What the edge could not even read, or we could not say, is refused here, and the connection lives on.
		for want, try := range map[code.Code]func() (tickfan.Ack, error){
			code.TooLarge: func() (tickfan.Ack, error) { return c.Subscribe(t.Context(), long) },
			code.BadRate:  func() (tickfan.Ack, error) { return c.Subscribe(t.Context(), long[:1], tickfan.MaxRate(0)) },
		} {
			if _, err := try(); !errors.As(err, &coded) || coded.Code != want {
				t.Errorf("error %v, want %s", err, want)
			}
		}
		go s.agree("NEW-USD")
		ack, err := c.Subscribe(t.Context(), []string{"NEW-USD"})
		if err != nil || len(ack.NoPrice) != 1 || len(ack.Symbols) != 1 {
			t.Errorf("ack %+v, %v", ack, err)
		}
	})
}

func TestClockOfTheEdge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEdge()
		e.ahead.Store(int64(5 * time.Second))
		c, s := e.dial(t, tickfan.Options{})
		synctest.Wait()
		if c.Offset() != 5*time.Second || c.RTT() != 0 {
			t.Errorf("offset %s, round trip %s", c.Offset(), c.RTT())
		}
		published := tickfan.Tick{Quote: tickfan.Quote{TS: time.Now().Add(5*time.Second - 30*time.Millisecond).UnixMicro()}}
		if got := c.Delay(published).Round(time.Millisecond); got != 30*time.Millisecond {
			t.Errorf("delay %s", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := s.pings.Load(); n != 5 {
			t.Errorf("%d pings in a minute, want one at once and four more", n)
		}

		e.ahead.Store(int64(-time.Hour)) // another edge, another clock
		s.sever()
		<-e.sessions
		synctest.Wait()
		if off := c.Offset() + time.Hour; off.Abs() > time.Microsecond { // the protocol has no smaller unit
			t.Errorf("offset %s after the reconnect", c.Offset())
		}
	})
}

func TestContextAndClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEdge()
		c, s := e.dial(t, tickfan.Options{})
		next[tickfan.Connected](t, c)
		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		ended := make(chan error, 3)
		go func() {
			_, err := c.Next(ctx)
			ended <- err
		}()
		go func() {
			_, err := c.Subscribe(ctx, []string{"BTC-USD"}) // never answered
			ended <- err
		}()
		go func() {
			for _, err := range c.Events(ctx) {
				ended <- err
			}
		}()
		synctest.Wait()
		cancel(cause)
		for range 3 {
			if err := <-ended; !errors.Is(err, cause) {
				t.Errorf("error %v, want the context's cause", err)
			}
		}

		waiting := make(chan error, 2)
		go func() {
			_, err := c.Next(context.Background())
			waiting <- err
		}()
		go func() {
			_, err := c.Subscribe(context.Background(), []string{"ETH-USD"})
			waiting <- err
		}()
		synctest.Wait()
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := <-waiting; !errors.Is(err, tickfan.ErrClosed) {
				t.Errorf("error %v, want ErrClosed", err)
			}
		}
		if err := c.Unsubscribe(t.Context(), "BTC-USD"); !errors.Is(err, tickfan.ErrClosed) {
			t.Errorf("error %v, want ErrClosed", err)
		}
		for e, err := range c.Events(t.Context()) {
			t.Errorf("event %v, %v after Close", e, err)
		}
		var closed interface{ Error() string } = <-s.closed
		if closed.Error() != "gws: connection closed, code=1000, reason=" {
			t.Errorf("the edge saw %v, want a close frame with 1000", closed)
		}
		c.Close() // again
	})
}
