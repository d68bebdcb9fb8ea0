package coinbase

import (
	"context"
	"testing"
	"time"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

func FuzzFrame(f *testing.F) {
	for _, s := range []string{
		ticker("BTC-USD", 1052192039, 132243038064, "62975.91"), heartbeat("ETH-USD", 825499712),
		`{"type":"subscriptions","channels":[{"name":"heartbeat","product_ids":["BTC-USD"],"account_ids":null}]}`,
		`{"message":"Failed to subscribe","reason":"No channels provided","type":"error"}`,
		`{"type":"ticker","product_id":"BTC-USD","price":"0.00","time":"1970-01-01T00:00:00Z","sequence":18446744073709551615,"trade_id":-1}`,
		`{"type":"ticker","price":"1","best_bid":"00","time":"9999-12-31T23:59:60Z"}`, `{"type":"ticker","price":"999999999999999999"`, "[]", "",
	} {
		f.Add([]byte(s))
	}
	now := time.Unix(1_763_769_600, 0)
	f.Fuzz(func(t *testing.T, p []byte) {
		fr, err := decode(p)
		if err != nil {
			return
		}
		_, _ = fr.products(typeTicker), fr.products(typeHeartbeat)
		q, dropped, err := fr.quote(now)
		if err != nil {
			if c := code.Of(err).Code; c != code.BadPrice || q != (tick.Quote{}) {
				t.Fatalf("%s: %v with %+v", p, err, q)
			}
			return
		}
		if q.Price.String() != fr.Price || !q.Price.Positive() || q.TS <= 0 || q.TS > now.Add(tick.MaxAhead).UnixMicro() || dropped > 10 {
			t.Fatalf("%s: %+v, %d dropped", p, q, dropped)
		}
		tk := tick.Tick{Symbol: "X", Position: tick.Position{Epoch: 1, Seq: 1}, Quote: q}
		if back, err := tick.Decode(tk.Append(nil)); err != nil || back != tk {
			t.Fatalf("%s: %+v came back as %+v, %v", p, tk, back, err)
		}
	})
}

// A clock that is slow by seconds, as recorders' are, changes nothing.
func TestTimesFromTheFuture(t *testing.T) {
	at := time.Date(2026, 7, 8, 1, 56, 1, 617651000, time.UTC)
	fr, err := decode([]byte(ticker("BTC-USD", 1, 1, "1")))
	if err != nil {
		t.Fatal(err)
	}
	for now, want := range map[time.Time]time.Time{
		at:                               at,
		at.Add(-1270 * time.Millisecond): at,
		at.Add(-tick.MaxAhead):           at,
		at.Add(-tick.MaxAhead - time.Microsecond): at.Add(-tick.MaxAhead - time.Microsecond),
		at.Add(24 * time.Hour):                    at,
	} {
		q, _, err := fr.quote(now)
		if err != nil || q.TS != want.UnixMicro() {
			t.Errorf("at %s: ts %s, %v; want %s", now, time.UnixMicro(q.TS).UTC(), err, want)
		}
	}
}

func BenchmarkTicker(b *testing.B) {
	f := New(Options{Products: []subject.Symbol{"BTC-USD"}, Stats: &Stats{}, Now: time.Now, Trace: untraced,
		Stamp: func(context.Context, subject.Symbol, tick.Quote) error { return nil }})
	p := []byte(ticker("BTC-USD", 0, 1, "62975.91"))
	b.ReportAllocs()
	for b.Loop() {
		f.frame(1, p)
	}
}
