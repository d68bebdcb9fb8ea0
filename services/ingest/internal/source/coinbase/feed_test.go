package coinbase

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lxzan/gws"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
	"github.com/tickfan/tickfan/services/ingest/internal/refusal"
)

const patience = 30 * time.Second

// receiver runs a feed and keeps what it stamps.
type receiver struct {
	feed    *Feed
	stats   *Stats
	refused *refusal.Log
	stop    func()

	mu  sync.Mutex
	got []stamped
}

type stamped struct {
	sym subject.Symbol
	tick.Quote
}

func receive(t *testing.T, url string, products ...subject.Symbol) *receiver {
	t.Helper()
	return receiveWith(t, url, func(*Feed) {}, products...)
}

func untraced(subject.Symbol) (context.Context, trace.Span) { return context.Background(), noop.Span{} }

func receiveWith(t *testing.T, url string, change func(*Feed), products ...subject.Symbol) *receiver {
	t.Helper()
	r := &receiver{stats: &Stats{}, refused: refusal.New(slog.New(slog.DiscardHandler))}
	r.feed = New(Options{
		URL: url, Products: products, Refused: r.refused, Log: slog.New(slog.DiscardHandler), Now: time.Now, Stats: r.stats,
		Trace: untraced,
		Stamp: func(_ context.Context, sym subject.Symbol, q tick.Quote) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.got = append(r.got, stamped{sym, q})
			return nil
		},
	})
	change(r.feed)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.feed.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

// prices are those stamped for a symbol so far.
func (r *receiver) prices(sym subject.Symbol) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for _, s := range r.got {
		if s.sym == sym {
			all = append(all, s.Price.String())
		}
	}
	return strings.Join(all, " ")
}

func (r *receiver) gets(t *testing.T, sym subject.Symbol, want string) {
	t.Helper()
	natstest.Eventually(t, patience, func() bool { return len(r.prices(sym)) >= len(want) }, "%s: %s", sym, want)
	if got := r.prices(sym); got != want {
		t.Fatalf("%s: got %s, want %s", sym, got, want)
	}
}

func (r *receiver) refusals(c code.Code) (n int64) {
	r.refused.Counts(func(k code.Code, m int64) {
		if k == c {
			n = m
		}
	})
	return n
}

func (x *exchange) client(t *testing.T, n int) *client {
	t.Helper()
	natstest.Eventually(t, patience, func() bool { return x.conn(n) != nil }, "connection %d", n)
	return x.conn(n)
}

// subscribes waits for so many subscribe calls.
func (x *exchange) subscribes(t *testing.T, n int) {
	t.Helper()
	natstest.Eventually(t, patience, func() bool { return len(x.called()) >= n }, "%d subscribe calls", n)
}

func TestEachTickerOnceInOrder(t *testing.T) {
	x := newExchange(t)
	x.with(func() {
		x.current["BTC-USD"] = ticker("BTC-USD", 100, 1000, "62975.90")
		x.current["ETH-USD"] = ticker("ETH-USD", 50, 400, "1753.68")
	})
	r := receive(t, x.url, "BTC-USD", "ETH-USD")
	x.subscribes(t, 1)
	c := x.client(t, 0)
	c.send(ticker("BTC-USD", 101, 1007, "62975.90")) // unchanged, and a tick too
	c.send(heartbeat("BTC-USD", 101))
	c.send(ticker("BTC-USD", 102, 1900, "62976"))
	c.send(ticker("ETH-USD", 51, 402, "1753.7"))
	r.gets(t, "BTC-USD", "62975.90 62975.90 62976")
	r.gets(t, "ETH-USD", "1753.68 1753.7")
	if calls := x.called(); len(calls) != 1 || !slices.Equal(calls[0], []string{"BTC-USD", "ETH-USD"}) {
		t.Errorf("calls %v", calls)
	}

	r.mu.Lock()
	first := r.got[0]
	r.mu.Unlock()
	d := tick.MustDecimal
	want := tick.Quote{
		Price: d("62975.90"), Bid: d("62975.90"), Ask: d("62975.91"), Size: d("0.06180656"), BidSize: d("0.00001797"), AskSize: d("0.01479766"),
		Open: d("63798.2"), High: d("64199.93"), Low: d("62583"), Volume: d("8737.20775975"),
		TS: time.Date(2026, 7, 8, 1, 56, 1, 617651000, time.UTC).UnixMicro(),
	}
	if now := time.Now(); time.UnixMicro(want.TS).After(now.Add(tick.MaxAhead)) {
		want.TS = first.TS // the test's clock is before the capture
	}
	if first.Quote != want {
		t.Errorf("got  %+v\nwant %+v", first.Quote, want)
	}
	s := r.stats
	if s.Gaps.Load() != 0 || s.Lost.Load() != 0 || s.Repeated.Load() != 0 || s.Failures.Load() != 0 || s.Tickers.Load() != 5 || s.Heartbeats.Load() != 1 {
		t.Errorf("gaps %d, lost %d, repeated %d, failures %d, tickers %d, heartbeats %d",
			s.Gaps.Load(), s.Lost.Load(), s.Repeated.Load(), s.Failures.Load(), s.Tickers.Load(), s.Heartbeats.Load())
	}
}

func TestReconnectRepeatsNothingAndCountsWhatWasMissed(t *testing.T) {
	x := newExchange(t)
	x.with(func() { x.current["BTC-USD"] = ticker("BTC-USD", 100, 1000, "1") })
	r := receive(t, x.url, "BTC-USD")
	c := x.client(t, 0)
	r.gets(t, "BTC-USD", "1")
	c.send(ticker("BTC-USD", 101, 1001, "2"))
	r.gets(t, "BTC-USD", "1 2")
	x.with(func() { x.current["BTC-USD"] = ticker("BTC-USD", 101, 1005, "2") })
	_ = c.WriteClose(1001, nil)

	c = x.client(t, 1)
	x.subscribes(t, 2)
	c.send(ticker("BTC-USD", 100, 1000, "1")) // late
	c.send(ticker("BTC-USD", 105, 1100, "3")) // 102 to 104 are missing
	r.gets(t, "BTC-USD", "1 2 3")
	if s := r.stats; s.Repeated.Load() != 2 || s.Gaps.Load() != 1 || s.Lost.Load() != 3 || s.Connects.Load() != 2 || s.Failures.Load() != 1 {
		t.Errorf("repeated %d, gaps %d, lost %d, connects %d, failures %d", s.Repeated.Load(), s.Gaps.Load(), s.Lost.Load(), s.Connects.Load(), s.Failures.Load())
	}
}

func TestBadProductDoesNotTakeTheOthersWithIt(t *testing.T) {
	for _, hangUp := range []bool{false, true} {
		t.Run(fmt.Sprintf("hangUp=%v", hangUp), func(t *testing.T) {
			x := newExchange(t)
			x.with(func() {
				x.invalid["NOPE-USD"], x.hangUp = true, hangUp
				x.current["BTC-USD"] = ticker("BTC-USD", 1, 1, "1")
				x.current["ETH-USD"] = ticker("ETH-USD", 1, 1, "2")
			})
			r := receive(t, x.url, "BTC-USD", "NOPE-USD", "ETH-USD")
			r.gets(t, "BTC-USD", "1")
			r.gets(t, "ETH-USD", "2")
			if n := r.stats.Refused.Load(); n != 1 {
				t.Errorf("%d products refused, want 1", n)
			}
			// Another connection does not ask for it.
			n := x.connected()
			calls := len(x.called())
			_ = x.client(t, n-1).WriteClose(1001, nil)
			x.client(t, n)
			x.subscribes(t, calls+1)
			if got := x.called()[calls]; !slices.Equal(got, []string{"BTC-USD", "ETH-USD"}) {
				t.Errorf("asks for %v", got)
			}
		})
	}
}

func TestAllRefusedIsTriedAgain(t *testing.T) {
	x := newExchange(t)
	x.with(func() {
		x.invalid["A-USD"], x.invalid["B-USD"] = true, true
		x.current["A-USD"] = ticker("A-USD", 1, 1, "1")
	})
	r := receive(t, x.url, "A-USD", "B-USD")
	x.subscribes(t, 3)
	x.with(func() { clear(x.invalid) })
	r.gets(t, "A-USD", "1")
}

func TestIncompleteAckIsCounted(t *testing.T) {
	x := newExchange(t)
	x.with(func() { x.noBeats = true })
	r := receive(t, x.url, "BTC-USD", "ETH-USD")
	natstest.Eventually(t, patience, func() bool { return r.stats.Unacked.Load() == 2 }, "two heartbeats missing in the ack")
}

func TestSilenceEndsTheConnection(t *testing.T) {
	x := newExchange(t)
	r := receiveWith(t, x.url, func(f *Feed) { f.silence = 300 * time.Millisecond }, "BTC-USD")
	first := x.client(t, 0)
	x.client(t, 1) // a second one was made, so the first was given up
	<-first.closed
	if r.stats.Failures.Load() == 0 {
		t.Error("not counted")
	}
}

func TestOddFramesDisturbNothing(t *testing.T) {
	x := newExchange(t)
	r := receive(t, x.url, "BTC-USD")
	c := x.client(t, 0)
	x.subscribes(t, 1)
	for _, f := range []string{
		``, `junk`, `[]`, `{}`, `{"type":7}`, "\x00\x01", strings.Repeat("x", 100_000),
		`{"type":"ticker","trade_id":"not a number","product_id":"BTC-USD","price":"1"}`, // bad
		`{"type":"status","products":[{"id":"BTC-USD"}]}`, `{"type":"l2update","time":17}`,
		ticker("ETH-USD", 1, 1, "1"), heartbeat("ETH-USD", 1), // not asked for
		`{"type":"error","message":"ErrSlowConsume","reason":"client is too slow"}`,
		ticker("BTC-USD", 10, 10, "abc"), ticker("BTC-USD", 11, 11, "-1"), ticker("BTC-USD", 12, 12, "0"), ticker("BTC-USD", 13, 13, "1e400"),
		ticker("BTC-USD", 14, 14, "0.123456789012345678901234567890"),
		strings.Replace(ticker("BTC-USD", 15, 15, "5"), `"best_bid":"62975.90"`, `"best_bid":"0"`, 1),
		strings.Replace(ticker("BTC-USD", 16, 16, "6"), `8737.20775975`, `873720775975000000.25`, 1),
		strings.Replace(ticker("BTC-USD", 17, 17, "7"), `2026-07-08`, `9999-07-08`, 1),
	} {
		c.send(f)
	}
	r.gets(t, "BTC-USD", "5 6 7")
	s := r.stats
	if r.refusals(code.BadPrice) != 5 || s.Fields.Load() < 3 || s.Unknown.Load() < 4 || s.Bad.Load() < 5 || s.Errors.Load() != 1 || s.Failures.Load() != 0 {
		t.Errorf("bad prices %d, fields %d, unknown %d, bad %d, errors %d, failures %d",
			r.refusals(code.BadPrice), s.Fields.Load(), s.Unknown.Load(), s.Bad.Load(), s.Errors.Load(), s.Failures.Load())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if q := r.got[0].Quote; q.Bid.Given() || q.Ask.String() != "62975.91" {
		t.Errorf("a bid of 0 gives bid %q, ask %q", q.Bid, q.Ask)
	}
	if q := r.got[1].Quote; q.Volume.Given() {
		t.Errorf("volume %q", q.Volume)
	}
	if ts := time.UnixMicro(r.got[2].TS); time.Since(ts).Abs() > time.Minute {
		t.Errorf("an absurd time became %s", ts)
	}
}

func TestPingIsAnsweredWithItsPayload(t *testing.T) {
	x := newExchange(t)
	receive(t, x.url, "BTC-USD")
	c := x.client(t, 0)
	x.subscribes(t, 1)
	if err := c.WriteMessage(gws.OpcodePing, []byte("are you there")); err != nil {
		t.Fatal(err)
	}
	select {
	case p := <-c.pongs:
		if p != "are you there" {
			t.Errorf("pong %q", p)
		}
	case <-time.After(patience):
		t.Fatal("no pong")
	}
}

func TestStopSaysGoodbye(t *testing.T) {
	x := newExchange(t)
	r := receive(t, x.url, "BTC-USD")
	c := x.client(t, 0)
	x.subscribes(t, 1)
	r.stop()
	<-c.closed
}

// An exchange that accepts and says nothing must not keep ingest from stopping.
func TestStopWhileTheExchangeIsMute(t *testing.T) {
	for _, scheme := range []string{"ws", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			accepted := make(chan net.Conn, 1)
			go func() {
				if c, err := ln.Accept(); err == nil {
					accepted <- c
				}
			}()
			r := receive(t, scheme+"://"+ln.Addr().String(), "BTC-USD")
			c := <-accepted
			defer c.Close()
			stopped := make(chan struct{})
			go func() { r.stop(); close(stopped) }()
			select {
			case <-stopped:
			case <-time.After(dialTimeout - time.Second):
				t.Fatal("does not stop")
			}
		})
	}
}

func TestBackoff(t *testing.T) {
	var b backoff
	for i := range 200 {
		bound := backoffMax
		if i < 5 {
			bound = min(backoffStart<<i, backoffMax)
		}
		if d := b.next(); d < backoffMin || d >= bound {
			t.Fatalf("fault %d: %s, want %s to %s", i, d, backoffMin, bound)
		}
	}
	b.reset()
	if d := b.next(); d >= backoffStart {
		t.Errorf("after reset: %s", d)
	}
}

// Whatever the exchange does to us, we stay below its 8 connections a second.
func TestRefusingServerIsNotHammered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stats := &Stats{}
		f := New(Options{URL: "unknown://", Products: []subject.Symbol{"A"}, Log: slog.New(slog.DiscardHandler), Now: time.Now, Stats: stats})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		if err := f.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if n := stats.Failures.Load(); n < 20 || n > 120 {
			t.Errorf("%d attempts in 10 minutes", n)
		}
	})
}
