package intake

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/tickfan/tickfan/libs/bus"
	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/libs/telemetry"
	"github.com/tickfan/tickfan/libs/telemetry/tracetest"
	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
	"github.com/tickfan/tickfan/services/ingest/internal/refusal"
	"github.com/tickfan/tickfan/services/ingest/internal/stamp"
)

const patience = 20 * time.Second

// desk is an intake with a stamper behind it, and a caller.
type desk struct {
	*Intake
	srv     *natstest.Server
	ticks   *nats.Conn
	stamper *stamp.Stamper
	refused *refusal.Log
	caller  *nats.Conn
	stop    func()
	slow    atomic.Pointer[func()] // called before each stamp
	tracer  atomic.Pointer[telemetry.Tracer]
}

func open(t *testing.T) *desk {
	t.Helper()
	d := &desk{srv: natstest.Start(t), refused: refusal.New(slog.New(slog.DiscardHandler))}
	ctx, cancel := context.WithCancel(context.Background())
	var err error
	d.ticks, err = bus.Connect(ctx, bus.Options{URL: d.srv.URL(), Name: "ticks", Log: slog.New(slog.DiscardHandler), Ticks: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.ticks.Close)
	d.stamper = stamp.New(d.ticks, 100, time.Now)
	d.stamper.Keep(time.Now().Add(time.Hour))
	d.stamper.Begin(7, nil)
	tel, err := telemetry.New("intake")
	if err != nil {
		t.Fatal(err)
	}
	drops, err := bus.NewDrops(tel.Meter("intake"))
	if err != nil {
		t.Fatal(err)
	}
	d.Intake, err = New(Options{
		Conn: d.srv.Connect(t), Ticks: d.ticks, Drops: drops, Refused: d.refused, Log: slog.New(slog.DiscardHandler), Now: time.Now,
		Active:  func() bool { return d.stamper.Epoch() != 0 },
		Skipped: func() {},
		Hold:    func(subject.Symbol, tick.Quote, func() bool) {},
		Stored:  func(s subject.Symbol, p tick.Position, done func(bool)) { done(s != "LOST-USD") },
		Trace: func(m *nats.Msg) (context.Context, trace.Span) {
			return d.tracer.Load().Process(context.Background(), "ingest.{symbol}", m.Subject)
		},
		Stamp: func(_ context.Context, sym subject.Symbol, q tick.Quote) (tick.Position, error) {
			if f := d.slow.Load(); f != nil {
				(*f)()
			}
			return d.stamper.Stamp(sym, q, nil)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	d.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		_ = drops.Close()
		_ = tel.Close(context.Background())
	})
	t.Cleanup(d.stop)
	d.caller = d.srv.Connect(t)
	if err := d.o.Conn.Flush(); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *desk) ask(t *testing.T, subj string, payload []byte) control.IngestAnswer {
	t.Helper()
	m, err := d.caller.Request(subj, payload, patience)
	if err != nil {
		t.Fatalf("%s: %v", subj, err)
	}
	var a control.IngestAnswer
	if err := json.Unmarshal(m.Data, &a); err != nil {
		t.Fatalf("%s: answer %q: %v", subj, m.Data, err)
	}
	return a
}

func (d *desk) count(c code.Code) (n int64) {
	d.refused.Counts(func(k code.Code, m int64) {
		if k == c {
			n = m
		}
	})
	return n
}

// Who asks for it is answered only when the history has the tick, or is told that it may not.
func TestWaitUntilStored(t *testing.T) {
	d := open(t)
	for sym, want := range map[string]code.Code{"BTC-USD": "", "LOST-USD": code.NotStored} {
		m := nats.NewMsg("ingest." + sym)
		m.Data = []byte("1")
		m.Header.Set(control.HeaderWait, control.WaitStored)
		r, err := d.caller.RequestMsg(m, patience)
		if err != nil {
			t.Fatal(err)
		}
		var a control.IngestAnswer
		if err := json.Unmarshal(r.Data, &a); err != nil {
			t.Fatal(err)
		}
		if a.OK != (want == "") || a.Error != nil && a.Error.Code != want || a.Epoch != 7 || a.Seq != 1 {
			t.Errorf("%s: %s", sym, r.Data)
		}
	}
}

func TestOddInputIsRefusedWithWhatIsAllowed(t *testing.T) {
	d := open(t)
	day := time.Now().Add(24 * time.Hour).UnixMicro()
	for _, c := range []struct {
		name, subj, payload string
		code                code.Code
		says                string
	}{
		{"text", "ingest.BTC-USD", "abc", code.BadMessage, `{"price":"64123.51"}`},
		{"text price", "ingest.BTC-USD", `{"price":"abc"}`, code.BadPrice, "digits"},
		{"negative", "ingest.BTC-USD", "-1", code.BadPrice, "no sign"},
		{"zero", "ingest.BTC-USD", "0", code.BadPrice, "above 0"},
		{"exponent", "ingest.BTC-USD", "1e400", code.BadPrice, "no exponent"},
		{"30 decimals", "ingest.BTC-USD", "0.123456789012345678901234567890", code.BadPrice, "12 after the point"},
		{"empty", "ingest.BTC-USD", "", code.BadMessage, "empty"},
		{"almost 1 MB of junk", "ingest.BTC-USD", strings.Repeat("junk", 1<<18-1), code.TooLarge, "at most 4096"},
		{"no price", "ingest.BTC-USD", `{"bid":"1"}`, code.BadPrice, "missing"},
		{"bad bid", "ingest.BTC-USD", `{"price":"1","bid":"x"}`, code.BadField, "bid"},
		{"not JSON", "ingest.BTC-USD", `{"price"`, code.BadMessage, "not JSON"},
		{"a day ahead", "ingest.BTC-USD", fmt.Sprintf(`{"price":"1","ts":%d}`, day), code.BadTime, "1m0s"},
		{"float in MessagePack", "ingest.BTC-USD", "\x81\xa5price\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00", code.BadPrice, "float"},
		{"lower case", "ingest.btc-usd", "1", code.BadSymbol, "A-Z 0-9 - _"},
		{"too long", "ingest." + strings.Repeat("X", 33), "1", code.BadSymbol, "1 to 32"},
		{"two tokens", "ingest.BTC.USD", "1", code.BadSymbol, `"BTC.USD"`},
		{"not ASCII", "ingest.BTC€", "1", code.BadSymbol, "A-Z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := d.count(c.code)
			a := d.ask(t, c.subj, []byte(c.payload))
			if a.OK || a.Error == nil || a.Error.Code != c.code || !strings.Contains(a.Error.Message, c.says) || len(a.Error.Message) > 400 {
				t.Fatalf("answer %+v %v, want %s saying %q", a, a.Error, c.code, c.says)
			}
			if n := d.count(c.code); n != before+1 {
				t.Errorf("counted %d times", n-before)
			}
		})
	}
	// Nothing of it disturbed what comes after.
	if a := d.ask(t, "ingest.BTC-USD", []byte(`{"price":64123.50}`)); !a.OK || a.Epoch != 7 || a.Seq != 1 {
		t.Errorf("a good price: %+v %v", a, a.Error)
	}
}

func TestGoodPricesOfEachEncoding(t *testing.T) {
	d := open(t)
	sub, err := d.caller.SubscribeSync("ticks.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.caller.Flush(); err != nil {
		t.Fatal(err)
	}
	for i, payload := range []string{
		`{"price":"64123.50"}`, `{"price":64123.50,"unknown":[1]}`, `64123.50`, " 64123.50\n", "\x81\xa5price\xa864123.50",
		`{"price":"64123.50","bid":"64123.49","ask":"64123.51","ts":1763769600000000}`,
	} {
		if a := d.ask(t, "ingest.BTC-USD", []byte(payload)); !a.OK || a.Seq != uint64(i+1) || a.Epoch != 7 {
			t.Fatalf("%q: %+v %v", payload, a, a.Error)
		}
		m, err := sub.NextMsg(patience)
		if err != nil {
			t.Fatal(err)
		}
		tk, err := tick.Decode(m.Data)
		if err != nil || m.Subject != "ticks.BTC-USD" || tk.Price.String() != "64123.50" || tk.Seq != uint64(i+1) {
			t.Fatalf("%q: %s %+v %v", payload, m.Subject, tk, err)
		}
	}
	// Without a reply subject there is no answer, only the tick or the count.
	if err := d.caller.Publish("ingest.ETH-USD", []byte("3000")); err != nil {
		t.Fatal(err)
	}
	if m, err := sub.NextMsg(patience); err != nil || m.Subject != "ticks.ETH-USD" {
		t.Fatalf("%v %v", m, err)
	}
	if err := d.caller.Publish("ingest.eth", []byte("3000")); err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, patience, func() bool { return d.count(code.BadSymbol) == 1 }, "the refusal is counted")
}

// A tick is with the server before its ok is: who asks and then reads finds it.
func TestOKMeansFlushed(t *testing.T) {
	d := open(t)
	sub, err := d.caller.SubscribeSync("ticks.BTC-USD")
	if err != nil {
		t.Fatal(err)
	}
	for range 200 {
		if a := d.ask(t, "ingest.BTC-USD", []byte("1")); !a.OK {
			t.Fatal(a.Error)
		}
		if n, _, err := sub.Pending(); err != nil || n == 0 {
			// The tick left on another connection; the server routes it before it answers that one's flush, and our
			// answer after.
			t.Fatal("ok before the tick")
		}
		if _, err := sub.NextMsg(patience); err != nil {
			t.Fatal(err)
		}
	}
}

// One flush answers all that wait; a flush for each would be a round trip for each.
func TestFlushesAreShared(t *testing.T) {
	d := open(t)
	gate := make(chan struct{})
	wait := func() { <-gate }
	d.slow.Store(&wait)
	const n = 5000
	inbox := d.caller.NewInbox()
	sub, err := d.caller.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if err := d.caller.PublishRequest("ingest.BTC-USD", inbox, fmt.Appendf(nil, "%d", i+1)); err != nil {
			t.Fatal(err)
		}
	}
	natstest.Eventually(t, patience, func() bool { m, _, err := d.sub.Pending(); return err == nil && m >= n-1 }, "all are there")
	close(gate)
	for i := range n {
		m, err := sub.NextMsg(patience)
		if err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		var a control.IngestAnswer
		if err := json.Unmarshal(m.Data, &a); err != nil || !a.OK || a.Seq != uint64(i+1) {
			t.Fatalf("answer %d: %s", i, m.Data)
		}
	}
	if f := d.answers.flushes.Load(); f > n/5 {
		t.Errorf("%d flushes for %d answers", f, n)
	}
}

func TestStandbyNeitherStampsNorAnswers(t *testing.T) {
	d := open(t)
	d.stamper.End()
	for _, subj := range []string{"ingest.BTC-USD", "ingest.btc"} {
		if _, err := d.caller.Request(subj, []byte("1"), 200*time.Millisecond); !errors.Is(err, nats.ErrTimeout) {
			t.Errorf("%s: %v, want a timeout", subj, err)
		}
	}
	if n := d.count(code.BadSymbol); n != 0 {
		t.Errorf("%d refused by a standby", n)
	}
}

// Ingest may publish where its callers may not, and must not do it for them.
func TestAnswersDoNotGoWhereHarmIsDone(t *testing.T) {
	d := open(t)
	var mu sync.Mutex
	var heard []string
	sub, err := d.caller.Subscribe(">", func(m *nats.Msg) {
		mu.Lock()
		defer mu.Unlock()
		if bytes.HasPrefix(m.Data, []byte("{")) {
			heard = append(heard, m.Subject)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Unsubscribe()
	var want int64
	for _, reply := range []string{"ticks.BTC-USD", "$JS.API.STREAM.PURGE.TICKS", "$KV.LEADER.lease", "beat", "ingest.ETH-USD", "fanout.eu.b-1",
		"interest.local", "router.local.newest", "registry.local.heartbeat"} {
		want++
		if err := d.caller.PublishRequest("ingest.BTC-USD", reply, []byte("1")); err != nil {
			t.Fatal(err)
		}
	}
	natstest.Eventually(t, patience, func() bool { return d.count(code.BadMessage) == want }, "all refused")
	if a := d.ask(t, "ingest.BTC-USD", []byte("1")); !a.OK || a.Seq != 1 {
		t.Errorf("an honest request: %+v %v", a, a.Error)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, s := range heard {
		if !strings.HasPrefix(s, "_INBOX.") {
			t.Errorf("an answer went to %s", s)
		}
	}
}

// A connection cut between stamp and flush may have lost the tick, so the answer is not ok.
func TestNoOKOverACutConnection(t *testing.T) {
	d := open(t)
	m := &nats.Msg{Subject: "ingest.BTC-USD", Reply: d.caller.NewInbox(), Sub: d.sub}
	sub, err := d.caller.SubscribeSync(m.Reply)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.caller.Flush(); err != nil {
		t.Fatal(err)
	}
	d.answers.ok(answer{m: m, reconnects: d.answers.reconnects() - 1, span: noop.Span{}, body: control.IngestAnswer{OK: true, Epoch: 7, Seq: 1, Trace: "1"}})
	got, err := sub.NextMsg(patience)
	if err != nil {
		t.Fatal(err)
	}
	var a control.IngestAnswer
	if err := json.Unmarshal(got.Data, &a); err != nil || a.OK || a.Error == nil || a.Error.Code != code.Unavailable || a.Trace != "1" {
		t.Errorf("answer %s", got.Data)
	}
}

// What was delivered before the stop is stamped and answered.
func TestStopTakesWhatWasDelivered(t *testing.T) {
	d := open(t)
	gate := make(chan struct{})
	wait := func() { <-gate }
	d.slow.Store(&wait)
	const n = 100
	inbox := d.caller.NewInbox()
	sub, err := d.caller.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		if err := d.caller.PublishRequest("ingest.BTC-USD", inbox, []byte("1")); err != nil {
			t.Fatal(err)
		}
	}
	natstest.Eventually(t, patience, func() bool { m, _, err := d.sub.Pending(); return err == nil && m >= n-1 }, "all are there")
	time.AfterFunc(50*time.Millisecond, func() { close(gate) })
	d.stop()
	for i := range n {
		if _, err := sub.NextMsg(patience); err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
	}
}

// A trace ends with the answer, and tells what that tells: also that a price was stamped, but not stored or not flushed.
func TestTraceTellsTheAnswer(t *testing.T) {
	c := tracetest.Start(t)
	for _, e := range c.Env() {
		name, value, _ := strings.Cut(e, "=")
		t.Setenv(name, value)
	}
	tel, err := telemetry.New("ingest")
	if err != nil {
		t.Fatal(err)
	}
	defer tel.Close(context.Background())
	tracer, err := tel.Tracer(t.Context(), "ingest")
	if err != nil {
		t.Fatal(err)
	}
	d := open(t)
	d.tracer.Store(tracer)
	for _, x := range []struct {
		subject, price, wait string
		want                 code.Code
	}{
		{"ingest.BTC-USD", "1", "", ""},
		{"ingest.BTC-USD", "1", control.WaitStored, ""},
		{"ingest.LOST-USD", "1", control.WaitStored, code.NotStored},
		{"ingest.LOST-USD", "x", control.WaitStored, code.BadMessage},
	} {
		m := nats.NewMsg(x.subject)
		m.Data = []byte(x.price)
		if x.wait != "" {
			m.Header.Set(control.HeaderWait, x.wait)
		}
		reply, err := d.caller.RequestMsg(m, patience)
		if err != nil {
			t.Fatal(err)
		}
		var a control.IngestAnswer
		if err := json.Unmarshal(reply.Data, &a); err != nil || a.Trace == "" || a.OK != (x.want == "") {
			t.Fatalf("%s, %v", reply.Data, err)
		}
		natstest.Eventually(t, patience, func() bool { return len(c.Trace(a.Trace)) == 1 }, "its span")
		want := ""
		if a.Error != nil {
			want = a.Error.Error()
		}
		if got := c.Trace(a.Trace)[0].Error; got != want || a.Error != nil && a.Error.Code != x.want {
			t.Errorf("%s %q: the trace has the error %q, the answer %v, want %q", x.subject, x.price, got, a.Error, x.want)
		}
	}
	if err := d.caller.Publish("ingest.BTC-USD", []byte("junk")); err != nil { // nobody asks
		t.Fatal(err)
	}
	natstest.Eventually(t, patience, func() bool { return len(c.Spans()) == 5 }, "a span without an answer")
}
