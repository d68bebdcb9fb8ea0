package tickctl

import (
	"context"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lxzan/gws"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

// fakeEdge answers a subscribe with script, and keeps what it was asked.
type fakeEdge struct {
	gws.BuiltinEventHandler
	script func(say func(session.Message), tick func(tick.Tick), leave func(uint16))

	mu    sync.Mutex
	asked []session.Request
}

func (e *fakeEdge) OnMessage(ws *gws.Conn, m *gws.Message) {
	defer m.Close()
	write := func(p []byte) { _ = ws.WriteMessage(gws.OpcodeBinary, p) }
	say := func(m session.Message) { write(m.Append(session.MessagePack, nil)) }
	r, err := session.DecodeRequest(session.MessagePack, m.Bytes())
	switch {
	case err != nil:
		say(session.Message{Op: session.OpError, ID: r.ID, Code: code.Of(err).Code, Message: code.Of(err).Message})
	case r.Op == session.OpPing:
		say(session.Message{Op: session.OpPong, ID: r.ID, TS: time.Now().UnixMicro()})
	default:
		e.mu.Lock()
		e.asked = append(e.asked, r)
		e.mu.Unlock()
		say(session.Message{Op: session.OpSubscribed, ID: r.ID, Symbols: r.Symbols, NoPrice: []subject.Symbol{"NEW-USD"}})
		e.script(say,
			func(t tick.Tick) { write(session.AppendTick(session.MessagePack, nil, &t)) },
			func(c uint16) { _ = ws.WriteClose(c, []byte("test")) })
	}
}

func (e *fakeEdge) start(t *testing.T) (url string) {
	var reading sync.WaitGroup
	up := gws.NewUpgrader(e, &gws.ServerOption{SubProtocols: []string{session.MessagePack.String()}})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reading.Add(1) // before it is hijacked: until then closing the server waits for it
		ws, err := up.Upgrade(w, r)
		if err != nil {
			reading.Done()
			return
		}
		go func() {
			defer reading.Done()
			ws.ReadLoop()
		}()
	}))
	t.Cleanup(func() {
		s.Close()
		reading.Wait()
	})
	return s.URL
}

func btc(seq uint64, price string) tick.Tick {
	return tick.Tick{Symbol: "BTC-USD", Position: tick.Position{Epoch: 1763769600, Seq: seq},
		Quote: tick.Quote{Price: tick.MustDecimal(price), Bid: tick.MustDecimal("64123.50"), TS: 1763769600123456}}
}

// all is a script with every kind of event.
func all(say func(session.Message), tick func(tick.Tick), _ func(uint16)) {
	tick(btc(1, "64123.51"))
	say(session.Message{Op: session.OpGap, Symbol: "BTC-USD", Epoch: 1763769600, From: 2, To: 4})
	say(session.Message{Op: session.OpStale, AgeMS: 3200})
	say(session.Message{Op: session.OpFresh})
	tick(btc(5, "64123.60"))
}

func TestWatchTable(t *testing.T) {
	url := (&fakeEdge{script: all}).start(t)
	code, out, err := run(t, "", "watch", "BTC-USD", "NEW-USD", "--every", "--count", "2", "--edge", url)
	if code != exitDone || err != "" {
		t.Errorf("code %d, err %q", code, err)
	}
	const clock = `\d\d:\d\d:\d\d\.\d\d\d  `
	want := []string{
		`ARRIVED       SYMBOL            PRICE            BID            ASK         SEQ     DELAY`,
		clock + `no price yet: NEW-USD`,
		clock + `connected to ws://127\.0\.0\.1:\d+/v1/ws`,
		clock + `BTC-USD        64123\.51       64123\.50              -           1 +\S+`,
		clock + `BTC-USD  gap: ticks 2 to 4 of epoch 1763769600 are missing`,
		clock + `stale: nothing heard from ingest for 3.2s; prices may be old`,
		clock + `fresh: ingest is heard again`,
		clock + `BTC-USD        64123\.60       64123\.50              -           5 +\S+`,
		``,
	}
	got := strings.Split(out, "\n")
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || !regexp.MustCompile("^"+want[i]+"$").MatchString(got[i]) {
			t.Fatalf("line %d of\n%s", i+1, out)
		}
	}
}

func TestWatchJSON(t *testing.T) {
	url := (&fakeEdge{script: all}).start(t)
	code, out, err := run(t, "", "watch", "BTC-USD", "NEW-USD", "--every", "--count", "2", "--json", "--edge", url)
	if code != exitDone || err != "" {
		t.Errorf("code %d, err %q", code, err)
	}
	want := `{"op":"subscribed","symbols":["BTC-USD","NEW-USD"],"no_price":["NEW-USD"]}
{"op":"connected","url":"ws://` + strings.TrimPrefix(url, "http://") + `/v1/ws"}
{"op":"tick","symbol":"BTC-USD","epoch":1763769600,"seq":1,"price":"64123.51","bid":"64123.50","ts":1763769600123456}
{"op":"gap","symbol":"BTC-USD","epoch":1763769600,"from":2,"to":4}
{"op":"stale","age_ms":3200}
{"op":"fresh"}
{"op":"tick","symbol":"BTC-USD","epoch":1763769600,"seq":5,"price":"64123.60","bid":"64123.50","ts":1763769600123456}
`
	if out != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
}

func TestWatchRefused(t *testing.T) {
	e := &fakeEdge{script: func(_ func(session.Message), _ func(tick.Tick), leave func(uint16)) { leave(4000) }}
	url := e.start(t)
	for _, test := range []struct {
		args []string
		says string
	}{
		{[]string{"btc-usd"}, "subscribe: bad_symbol: "},
		{[]string{"BTC-USD", "--every", "--max-rate", "3"}, "subscribe: bad_mode: "},
		{[]string{"BTC-USD", "--max-rate", "101"}, "subscribe: bad_rate: "},
		{[]string{"BTC-USD"}, "edge closed the connection with code 4000 test"},
	} {
		code, _, err := run(t, "", append([]string{"watch", "--edge", url}, test.args...)...)
		if code != exitFault || !strings.Contains(err, test.says) || strings.Count(err, "\n") != 1 {
			t.Errorf("%v: code %d, err %q", test.args, code, err)
		}
	}
}

func TestWatchUntilInterrupted(t *testing.T) {
	e := &fakeEdge{script: func(_ func(session.Message), tick func(tick.Tick), leave func(uint16)) {
		tick(btc(1, "1"))
		leave(1001) // once; the fake edge then serves the reconnected client likewise
	}}
	url := e.start(t)
	ctx, cancel := context.WithCancel(t.Context())
	var stdout, stderr buffer
	ended := make(chan int, 1)
	go func() {
		ended <- command(ctx, []string{"watch", "BTC-USD", "--max-rate", "5", "--edge", url}, Streams{Out: &stdout, Err: &stderr})
	}()
	natstest.Eventually(t, 30*time.Second, func() bool {
		return strings.Count(stdout.String(), "disconnected: edge closed the connection with code 1001 test; next attempt in") >= 2
	}, "two reconnects are shown")
	cancel()
	if code := <-ended; code != exitDone || stderr.String() != "" {
		t.Errorf("code %d, err %q", code, &stderr)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.asked {
		if r.MaxRate != 5 || r.Mode != session.Latest {
			t.Errorf("asked for %+v", r)
		}
	}
	if n := strings.Count(stdout.String(), "BTC-USD "); n != 1 {
		t.Errorf("the same tick is shown %d times:\n%s", n, &stdout)
	}
}
