package tickfan_test

import (
	"strings"
	"testing"
	"testing/synctest"

	tickfan "github.com/tickfan/tickfan/libs/sdk/go"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

// The client takes the best that an edge speaks, or what its user chose.
func TestEncodingIsNegotiated(t *testing.T) {
	for _, c := range []struct {
		encoding     tickfan.Encoding
		speaks, want session.Format
	}{
		{tickfan.Best, session.Compact, session.Compact},
		{tickfan.Best, session.MessagePack, session.MessagePack},
		{tickfan.Best, session.JSON, session.JSON},
		{tickfan.MessagePack, session.Compact, session.MessagePack},
		{tickfan.JSON, session.Compact, session.JSON},
	} {
		synctest.Test(t, func(t *testing.T) {
			e := newFakeEdge()
			e.speaks = c.speaks
			client, s := e.dial(t, tickfan.Options{Encoding: c.encoding})
			if s.format != c.want {
				t.Fatalf("%s, want %s", s.format, c.want)
			}
			next[tickfan.Connected](t, client)
			subscribe(t, client, s, []string{"BTC-USD"}, tickfan.Every())
			for seq := range uint64(3) {
				s.tick("BTC-USD", 1, seq+1, "64123.51")
				wantTick(t, client, "BTC-USD", 1, seq+1)
			}
		})
	}
}

// Ticks that share a message come out one by one, as they were sent.
func TestManyTicksInOneMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEdge()
		c, s := e.dial(t, tickfan.Options{})
		next[tickfan.Connected](t, c)
		subscribe(t, c, s, []string{"BTC-USD", "ETH-USD"}, tickfan.Every())
		var message []byte
		var want []tickfan.Tick
		for seq := range uint64(20) {
			for _, symbol := range []string{"BTC-USD", "ETH-USD"} {
				x := tick.Tick{Position: tick.Position{Epoch: 1, Seq: seq + 1}}
				x.Symbol = subject.Symbol(symbol)
				x.Price, x.TS = tick.NewDecimal(6412350+seq, 2), int64(1763769600123456+seq*1000)
				message = append(message, s.encode(&x)...)
				want = append(want, tickfan.Tick{Symbol: symbol, Position: x.Position, Quote: x.Quote})
			}
		}
		if err := s.write(message); err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if got := next[tickfan.Tick](t, c); got != w {
				t.Fatalf("got %+v, want %+v", got, w)
			}
		}
	})
}

// What the client cannot read has it come back, and nothing that it held of the old connection counts on the new one.
func TestUnreadableTickReconnects(t *testing.T) {
	for name, garbage := range map[string][]byte{
		"number of no symbol": {9, 0, 0},
		"cut":                 {1},
		"full, cut":           {0xc1, 1, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			e := newFakeEdge()
			c, s := e.dial(t, tickfan.Options{})
			next[tickfan.Connected](t, c)
			subscribe(t, c, s, []string{"BTC-USD"})
			s.tick("BTC-USD", 1, 1, "1.5")
			wantTick(t, c, "BTC-USD", 1, 1)
			if err := s.write(garbage); err != nil {
				t.Fatal(err)
			}
			if lost := next[tickfan.Disconnected](t, c); !strings.Contains(lost.Err.Error(), "read tick") {
				t.Errorf("%s: lost: %v", name, lost.Err)
			}
			s = <-e.sessions
			next[tickfan.Connected](t, c)
			s.agree()
			s.tick("BTC-USD", 1, 2, "1.5")
			s.tick("BTC-USD", 1, 3, "1.6")
			synctest.Wait()
			if got := next[tickfan.Tick](t, c); got.Seq != 3 || got.Price.String() != "1.6" {
				t.Errorf("%s: got %+v", name, got)
			}
		})
	}
}

func TestSubscribedWithoutNumbersReconnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEdge()
		c, s := e.dial(t, tickfan.Options{})
		next[tickfan.Connected](t, c)
		go func() {
			r := <-s.requests
			s.say(session.Message{Op: session.OpSubscribed, ID: r.ID, Symbols: r.Symbols})
			s = <-e.sessions
			s.agree()
			s.tick("BTC-USD", 1, 1, "1")
		}()
		if _, err := c.Subscribe(t.Context(), []string{"BTC-USD"}); err != nil {
			t.Fatal(err)
		}
		next[tickfan.Disconnected](t, c)
		next[tickfan.Connected](t, c)
		wantTick(t, c, "BTC-USD", 1, 1)
	})
}
