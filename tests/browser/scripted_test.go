//go:build browser

package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lxzan/gws"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/session"
)

// scripted is an edge that does as a test says, to show the page what no healthy edge does. The page itself comes
// from the real one.
type scripted struct {
	gws.BuiltinEventHandler
	url string

	mu         sync.Mutex
	symbols    []string
	refuse     *code.Error     // the answer to a subscribe, if not nil
	subscribed map[string]bool // by any connection, and not given up
	conns      []*gws.Conn     // all that ever were
	opened     []time.Time     // when each was
}

func startScripted(t *testing.T, d *dev, symbols ...string) *scripted {
	t.Helper()
	page, err := url.Parse(d.page)
	if err != nil {
		t.Fatal(err)
	}
	s := &scripted{symbols: append([]string{}, symbols...), subscribed: map[string]bool{}}
	upgrader := gws.NewUpgrader(s, &gws.ServerOption{SubProtocols: []string{session.JSON.String()}})
	proxy := httputil.NewSingleHostReverseProxy(page)
	proxy.Transport = &http.Transport{DisableKeepAlives: true}
	var readers sync.WaitGroup
	mux := http.NewServeMux()
	mux.Handle("/", proxy)
	mux.HandleFunc(session.PathSymbols, s.serveSymbols)
	mux.HandleFunc(session.PathWS, func(w http.ResponseWriter, r *http.Request) {
		readers.Add(1) // before it is hijacked: until then closing the server waits for it
		conn, err := upgrader.Upgrade(w, r)
		if err != nil {
			readers.Done()
			return
		}
		s.mu.Lock()
		s.conns, s.opened = append(s.conns, conn), append(s.opened, time.Now())
		s.mu.Unlock()
		go func() {
			defer readers.Done()
			conn.ReadLoop()
		}()
	})
	server := httptest.NewServer(mux)
	s.url = server.URL + "/"
	t.Cleanup(func() {
		s.mu.Lock()
		for _, c := range s.conns {
			_ = c.NetConn().Close()
		}
		s.mu.Unlock()
		server.Close()
		readers.Wait()
	})
	return s
}

func (s *scripted) serveSymbols(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = json.NewEncoder(w).Encode(map[string][]string{"symbols": s.symbols})
}

func (s *scripted) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	r, err := session.DecodeRequest(session.JSON, m.Bytes())
	if err != nil {
		s.say(c, &session.Message{Op: session.OpError, ID: r.ID, Code: code.Of(err).Code, Message: code.Of(err).Message})
		return
	}
	answer := session.Message{ID: r.ID, Symbols: r.Symbols}
	switch r.Op {
	case session.OpPing:
		answer = session.Message{Op: session.OpPong, ID: r.ID, TS: time.Now().UnixMicro()}
	case session.OpUnsubscribe:
		answer.Op = session.OpUnsubscribed
		s.mu.Lock()
		for _, symbol := range r.Symbols {
			delete(s.subscribed, string(symbol))
		}
		s.mu.Unlock()
	case session.OpSubscribe:
		s.mu.Lock()
		if s.refuse != nil {
			answer = session.Message{Op: session.OpError, ID: r.ID, Code: s.refuse.Code, Message: s.refuse.Message}
		} else {
			answer.Op, answer.NoPrice = session.OpSubscribed, r.Symbols
			for _, symbol := range r.Symbols {
				s.subscribed[string(symbol)] = true
			}
		}
		s.mu.Unlock()
	}
	s.say(c, &answer)
}

func (s *scripted) say(c *gws.Conn, m *session.Message) {
	_ = c.WriteMessage(gws.OpcodeText, m.Append(session.JSON, nil)) // the page may be gone
}

// newest is the newest connection.
func (s *scripted) newest() *gws.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns[len(s.conns)-1]
}

// tick sends what the text says; a space stands between its parts: symbol, seq, then field=value.
func (s *scripted) tick(text string) {
	parts := strings.Fields(text)
	m := fmt.Sprintf(`{"op":"tick","symbol":%q,"epoch":1763769600,"seq":%s,"ts":%d`, parts[0], parts[1], time.Now().UnixMicro())
	for _, p := range parts[2:] {
		name, value, _ := strings.Cut(p, "=")
		m += fmt.Sprintf(`,%q:%q`, name, value)
	}
	_ = s.newest().WriteMessage(gws.OpcodeText, []byte(m+"}"))
}

// open opens the page and waits until it is subscribed to all symbols.
func (s *scripted) open(t *testing.T, browser context.Context) *Tab {
	t.Helper()
	tab := openTab(t, browser, s.url, desktop)
	tab.eventually(patience, fmt.Sprintf("document.querySelectorAll('[data-symbol]').length >= %d", min(len(s.symbols), session.MaxSymbols)), "a row for each symbol")
	tab.eventually(patience, state+` === 'live'`, "the page is live")
	return tab
}

func testScripted(t *testing.T, browser context.Context, d *dev) {
	t.Run("Decimals", func(t *testing.T) { testDecimals(t, browser, d) })
	t.Run("Ticks", func(t *testing.T) { testTicks(t, browser, d) })
	t.Run("Burst", func(t *testing.T) { testBurst(t, browser, d) })
	t.Run("Stale", func(t *testing.T) { testStale(t, browser, d) })
	t.Run("ComesBackWhenTold", func(t *testing.T) { testReconnect(t, browser, d) })
	t.Run("FaultDoesNotComeBack", func(t *testing.T) { testFault(t, browser, d) })
	t.Run("MoreThanAConnectionHolds", func(t *testing.T) { testMany(t, browser, d) })
	t.Run("Refused", func(t *testing.T) { testRefused(t, browser, d) })
	t.Run("Forgotten", func(t *testing.T) { testForgotten(t, browser, d) })
	t.Run("Empty", func(t *testing.T) { testEmpty(t, browser, d) })
}

// testDecimals tries the page's own arithmetic.
func testDecimals(t *testing.T, browser context.Context, d *dev) {
	tab := openTab(t, browser, startScripted(t, d).url, desktop)
	for _, c := range []struct{ expression, want string }{
		{`difference('0.30', '0.1')`, "0.20"},
		{`difference('64123.52', '64123.50')`, "0.02"},
		{`difference('7', '7')`, "0"},
		{`difference('1', '0.999999999999')`, "0.000000000001"},
		{`difference('123456.123456789012', '123456.123456789011')`, "0.000000000001"},
		{`difference('99.5', '100')`, "\u22120.5"},
		{`difference('0', '0.05')`, "\u22120.05"},
		{`Math.sign(compare('123456.123456789012', '123456.123456789011'))`, "1"},
		{`Math.sign(compare('9.99', '10'))`, "-1"},
		{`compare('1.0', '1.000')`, "0"},
		{`Math.sign(compare('0.000000000001', '0.000000000002'))`, "-1"},
	} {
		if got := eval[string](tab, `import('/page/decimal.js').then(({difference, compare}) => String(`+c.expression+`))`); got != c.want {
			t.Errorf("%s is %s, want %s", c.expression, got, c.want)
		}
	}
}

func testTicks(t *testing.T, browser context.Context, d *dev) {
	s := startScripted(t, d, "AAA", "BBB", "CCC")
	tab := s.open(t, browser)

	s.tick("AAA 5 price=110.00 open=100 bid=109.9 ask=110.15")
	tab.eventually(patience, price("AAA")+` === '110.00'`, "the price as it came")
	tab.eventually(patience, cell("AAA", "chg")+` === '+10.00%'`, "the change against open")
	tab.eventually(patience, cell("AAA", "spr")+` === '0.25'`, "the spread")

	s.tick("BBB 1 price=200")
	s.tick("BBB 2 price=199")
	tab.eventually(patience, cell("BBB", "chg")+` === '\u22120.50%'`, "the change against the first price seen")
	tab.eventually(patience, `document.getElementById('footnote').textContent.includes('first price seen')`, "the page says what the change counts from")
	title := func(symbol string) string {
		return eval[string](tab, `(() => {
			const cell = document.querySelector('[data-symbol="`+symbol+`"] .chg');
			cell.dispatchEvent(new PointerEvent('pointerover', { bubbles: true }));
			return cell.title;
		})()`)
	}
	if got := title("AAA"); !strings.Contains(got, "24 hours ago, 100") {
		t.Errorf("title of AAA's change: %q", got)
	}
	if got := title("BBB"); !strings.Contains(got, "first price this page saw, 200") {
		t.Errorf("title of BBB's change: %q", got)
	}

	s.tick("AAA 4 price=1") // of a router that lags
	s.tick("CCC 1 price=0.000000012300")
	tab.eventually(patience, price("CCC")+` === '0.000000012300'`, "a small price with all its digits")
	if got := eval[string](tab, price("AAA")); got != "110.00" {
		t.Errorf("an older tick turned the price back to %s", got)
	}
	s.tick("CCC 2 price=123456.123456789012 bid=123456.123456789011 ask=123456.123456789013")
	tab.eventually(patience, price("CCC")+` === '123456.123456789012'`, "a long price with all its digits")
	for _, l := range []look{desktop, {width: 1062, height: 700, scale: 1}, {width: 962, height: 700, scale: 1}, {width: 360, height: 700, scale: 2}} {
		tab.see(l)
		if found := eval[string](tab, unreadable); found != "" {
			t.Errorf("%s: %s", l, found)
		}
		tab.screenshot("long-" + l.String())
	}
	tab.silent()
}

func testBurst(t *testing.T, browser context.Context, d *dev) {
	s := startScripted(t, d, "AAA", "BBB")
	tab := s.open(t, browser)
	const n = 20_000
	for i := 1; i <= n; i++ {
		s.tick(fmt.Sprintf("AAA %d price=%d.5", i, i))
	}
	s.tick("BBB 1 price=1")
	tab.eventually(patience, price("BBB")+` === '1'`, "all has been received")
	if got := eval[string](tab, price("AAA")); got != fmt.Sprintf("%d.5", n) {
		t.Errorf("after a burst the price is %s, want the last, %d.5", got, n)
	}
	tab.silent()
}

func testStale(t *testing.T, browser context.Context, d *dev) {
	s := startScripted(t, d, "AAA")
	tab := s.open(t, browser)
	s.tick("AAA 1 price=1")
	s.say(s.newest(), &session.Message{Op: session.OpStale, AgeMS: 3200})
	tab.eventually(patience, `!document.getElementById('stale').hidden && `+state+` === 'stale'`, "the page says that prices are stale")
	tab.screenshot("stale")
	s.say(s.newest(), &session.Message{Op: session.OpFresh})
	tab.eventually(patience, `document.getElementById('stale').hidden && `+state+` === 'live'`, "the page takes it back")
	tab.silent()
}

func testReconnect(t *testing.T, browser context.Context, d *dev) {
	s := startScripted(t, d, "AAA")
	tab := s.open(t, browser)
	const wait = 1500 * time.Millisecond
	s.say(s.newest(), &session.Message{Op: session.OpReconnect, AfterMS: wait.Milliseconds(), Reason: "drain"})
	told := time.Now()
	s.newest().WriteClose(uint16(code.Drain), nil)
	tab.eventually(patience, state+` === 'waiting'`, "the page waits")
	tab.eventually(patience, state+` === 'live'`, "the page is back")
	s.tick("AAA 1 price=2")
	tab.eventually(patience, price("AAA")+` === '2'`, "the new connection brings prices")
	s.mu.Lock()
	defer s.mu.Unlock()
	if got := s.opened[1].Sub(told); got < wait-50*time.Millisecond { // the page's timers count in whole milliseconds
		t.Errorf("the page came back after %s, was told %s", got, wait)
	}
	tab.silent()
}

func testFault(t *testing.T, browser context.Context, d *dev) {
	s := startScripted(t, d, "AAA")
	tab := s.open(t, browser)
	s.newest().WriteClose(uint16(code.TooManyErrors), []byte("too many errors"))
	tab.eventually(patience, state+` === 'stopped'`, "the page stops")
	tab.eventually(patience, `document.getElementById('trouble').textContent.includes('too many errors (4000)')`, "the page says why")
	tab.screenshot("stopped")
	s.mu.Lock()
	n := len(s.conns)
	s.mu.Unlock()
	if n != 1 {
		t.Errorf("%d connections, want the one that was closed", n)
	}
	eval[any](tab, `document.getElementById('retry').click()`)
	tab.eventually(patience, state+` === 'live'`, "a person can try again")
	tab.silent()
}

func testMany(t *testing.T, browser context.Context, d *dev) {
	var symbols []string
	for i := range session.MaxSymbols + 7 {
		symbols = append(symbols, fmt.Sprintf("S-%04d", i))
	}
	s := startScripted(t, d, symbols...)
	tab := s.open(t, browser)
	tab.eventually(patience, `document.getElementById('count-of').textContent === 'of 1007'`, "the page says how many there are")
	tab.eventually(patience, `document.getElementById('footnote').textContent.includes('Of 1007 symbols the first 1000')`, "and which it shows")
	s.tick("S-0999 1 price=9")
	eval[any](tab, `document.querySelector('[data-symbol="S-0999"]').scrollIntoView()`)
	tab.eventually(patience, price("S-0999")+` === '9'`, "a row far down shows its price when it comes into view")
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.subscribed) != session.MaxSymbols || s.subscribed[symbols[session.MaxSymbols]] {
		t.Errorf("subscribed to %d symbols, want the first %d", len(s.subscribed), session.MaxSymbols)
	}
	tab.silent()
}

func testRefused(t *testing.T, browser context.Context, d *dev) {
	s := startScripted(t, d, "AAA")
	s.mu.Lock()
	s.refuse = code.Errorf(code.TooManyUnpriced, "150 symbols without a price")
	s.mu.Unlock()
	tab := s.open(t, browser)
	tab.eventually(patience, `document.getElementById('trouble').textContent.includes('150 symbols without a price (too_many_unpriced)')`, "the page says what the edge said")
	s.mu.Lock()
	s.refuse = nil
	s.mu.Unlock()
	tab.eventually(patience, `document.getElementById('trouble').hidden`, "the page tries again, and the notice goes")
	s.tick("AAA 1 price=3")
	tab.eventually(patience, price("AAA")+` === '3'`, "prices come")
	tab.silent()
}

func testForgotten(t *testing.T, browser context.Context, d *dev) {
	s := startScripted(t, d, "AAA", "BBB")
	tab := s.open(t, browser)
	s.mu.Lock()
	s.symbols = []string{"AAA"}
	s.mu.Unlock()
	const there = `Boolean(document.querySelector('[data-symbol="BBB"]'))`
	if !eval[bool](tab, there) {
		t.Error("a symbol is gone at once; an edge that has just started may not know it yet")
	}
	eval[any](tab, `(() => { const now = performance.now; performance.now = () => now.call(performance) + 31_000; })()`)
	tab.eventually(patience, `!`+there, "a symbol that the edge has not listed for 30 s is gone")
	natstest.Eventually(t, patience, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.subscribed) == 1 && s.subscribed["AAA"]
	}, "only AAA is subscribed")
	tab.silent()
}

func testEmpty(t *testing.T, browser context.Context, d *dev) {
	s := startScripted(t, d)
	tab := s.open(t, browser)
	tab.eventually(patience, `document.getElementById('nothing').textContent.includes('No prices yet')`, "the page says that there is nothing yet")
	tab.screenshot("empty")
	s.mu.Lock()
	s.symbols = []string{"NEW-ONE"}
	s.mu.Unlock()
	tab.eventually(patience, `document.querySelector('[data-symbol="NEW-ONE"]') && document.getElementById('nothing').hidden`, "the first symbol takes its place")
	tab.silent()
}
