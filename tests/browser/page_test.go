//go:build browser

package browser

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/nats-io/nats.go"
)

// TestPage runs one all-in-one, one browser, and everything that is to be seen of them.
func TestPage(t *testing.T) {
	chromium := findChromium(t)
	bin := build(t, "dev", "edge")
	d := startDev(t, bin)
	browser := startBrowser(t, chromium)
	nc, err := nats.Connect(d.nats)
	if err != nil {
		t.Fatalf("connect %s: %v", d.nats, err)
	}
	t.Cleanup(nc.Close)

	t.Run("PricesMove", func(t *testing.T) { testPricesMove(t, browser, d) })
	t.Run("PublishedPriceIsInEveryTab", func(t *testing.T) { testPublished(t, browser, d, nc) })
	t.Run("NewSymbolWithinFiveSeconds", func(t *testing.T) { testNewSymbol(t, browser, d, nc) })
	t.Run("Filter", func(t *testing.T) { testFilter(t, browser, d) })
	t.Run("Sort", func(t *testing.T) { testSort(t, browser, d) })
	t.Run("Looks", func(t *testing.T) { testLooks(t, browser, d) })
	t.Run("EdgeRestart", func(t *testing.T) { testEdgeRestart(t, browser, d, bin, nc) })
	t.Run("Scripted", func(t *testing.T) { testScripted(t, browser, d) })
}

// publish does what `nats pub ingest.<symbol>` does.
func publish(t *testing.T, nc *nats.Conn, symbol, payload string) {
	t.Helper()
	if err := nc.Publish("ingest."+symbol, []byte(payload)); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

// boardIsUp: there are rows, and those that are to be seen have a price. Rows out of sight are not drawn.
const boardIsUp = `document.querySelectorAll('[data-symbol]').length >= 20 &&
	[...document.querySelectorAll('[data-symbol] .px')].slice(0, 8).every((e) => /\d/.test(e.textContent))`

const updatesCounted = `Number(document.getElementById('rate').textContent) > 0`

func testPricesMove(t *testing.T, browser context.Context, d *dev) {
	tab := openTab(t, browser, d.page, desktop)
	tab.eventually(patience, boardIsUp, "the symbols have a price")
	tab.eventually(patience, state+` === 'live'`, "the page says that it is live")

	all := `JSON.stringify([...document.querySelectorAll('[data-symbol] .px')].map((e) => e.textContent))`
	before := eval[string](tab, all)
	tab.eventually(patience, fmt.Sprintf("%s !== %q", all, before), "a price changes")
	tab.eventually(patience, `document.querySelector('.px.up') && document.querySelector('.px.down')`, "prices are shown going up and down")
	tab.eventually(patience, updatesCounted, "updates are counted")
	tab.eventually(patience, `/^[\d.]+$/.test(document.getElementById('delay').textContent)`, "the delay is measured")
	tab.eventually(patience, `document.querySelector('[data-symbol] .over').getAttribute('d')`, "a line of the last minutes is drawn")
	tab.silent()
}

func testPublished(t *testing.T, browser context.Context, d *dev, nc *nats.Conn) {
	a, b := openTab(t, browser, d.page, desktop), openTab(t, browser, d.page, desktop)
	for _, tab := range []*Tab{a, b} {
		tab.eventually(patience, price("BTC-USD")+` !== ''`, "BTC-USD has a price")
	}
	publish(t, nc, "BTC-USD", `{"price":"64123.51"}`)
	for _, tab := range []*Tab{a, b} {
		tab.eventually(patience, price("BTC-USD")+` === '64123.51'`, "the published price is shown")
	}
	// All digits, as they were given: no number in between has touched them.
	publish(t, nc, "BTC-USD", `{"price":"64123.510000000000","bid":"64123.5","ask":"64123.52"}`)
	for _, tab := range []*Tab{a, b} {
		tab.eventually(patience, price("BTC-USD")+` === '64123.510000000000'`, "the price is shown digit by digit")
		tab.eventually(patience, cell("BTC-USD", "spr")+` === '0.02'`, "the spread is exact")
		tab.silent()
	}
}

func testNewSymbol(t *testing.T, browser context.Context, d *dev, nc *nats.Conn) {
	tab := openTab(t, browser, d.page, desktop)
	tab.eventually(patience, boardIsUp, "the board is up")
	publish(t, nc, "NEVER-SEEN", `1.5`)
	began := time.Now()
	tab.eventually(5*time.Second, price("NEVER-SEEN")+` === '1.5'`, "a symbol published for the first time shows")
	t.Logf("shown after %s", time.Since(began).Round(time.Millisecond))
	tab.silent()
}

func testFilter(t *testing.T, browser context.Context, d *dev) {
	tab := openTab(t, browser, d.page, desktop)
	tab.eventually(patience, boardIsUp, "the board is up")
	// A key sent from outside types its character even where the page's handler forbids it, so this one is sent inside.
	eval[any](tab, `document.body.dispatchEvent(new KeyboardEvent('keydown', { key: '/', bubbles: true, cancelable: true }))`)
	tab.must("type", chromedp.Do(tab.ctx, chromedp.KeyEvent("btc-")))
	visible := `[...document.querySelectorAll('[data-symbol]')].filter((e) => e.offsetHeight > 0).map((e) => e.dataset.symbol)`
	tab.eventually(patience, visible+`.length > 0 && `+visible+`.every((s) => s.includes('BTC-'))`, "only symbols with BTC- are seen")
	tab.must("type", chromedp.Do(tab.ctx, chromedp.KeyEvent("nowhere")))
	tab.eventually(patience, visible+`.length === 0 && document.getElementById('nothing').textContent.includes('BTC-NOWHERE')`, "the page says that nothing fits")
	tab.must("press Escape", chromedp.Do(tab.ctx, chromedp.KeyEvent(kb.Escape)))
	tab.eventually(patience, visible+`.length >= 20 && document.getElementById('nothing').hidden`, "all symbols are back")
	tab.silent()
}

func testSort(t *testing.T, browser context.Context, d *dev) {
	tab := openTab(t, browser, d.page, desktop)
	tab.eventually(patience, boardIsUp, "the board is up")
	symbols := `[...document.querySelectorAll('[data-symbol]')].map((e) => e.dataset.symbol)`
	tab.eventually(patience, symbols+`.every((s, i, all) => i === 0 || all[i - 1] < s)`, "rows stand by name")
	click := func(by string) {
		tab.must("click", chromedp.Do(tab.ctx, chromedp.Click(chromedp.CSS(`[data-sort="`+by+`"]`))))
	}
	click("name")
	tab.eventually(patience, symbols+`.every((s, i, all) => i === 0 || all[i - 1] > s)`, "rows stand by name from the end")
	click("change")
	tab.eventually(patience, `document.querySelector('[data-column=change]').ariaSort === 'descending'`, "the table says how it is sorted")
	tab.eventually(patience, `(() => {
		const c = [...document.querySelectorAll('[data-symbol] .chg')].map((e) => parseFloat(e.textContent.replace('\u2212', '-')));
		return c[0] > c[c.length - 1];
	})()`, "the winner stands above the loser")
	click("activity")
	tab.eventually(patience, `(() => {
		const r = [...document.querySelectorAll('[data-symbol] .act')].map((e) => Number(e.textContent));
		return r[0] > r[r.length - 1];
	})()`, "the busiest stands above the quietest")
	tab.silent()
}

func testLooks(t *testing.T, browser context.Context, d *dev) {
	ground := `getComputedStyle(document.documentElement).backgroundColor`
	grounds := map[bool]string{}
	for _, l := range []look{
		desktop, {width: 1280, height: 900, scale: 1, dark: true},
		{width: 820, height: 1180, scale: 1}, {width: 390, height: 844, scale: 2}, {width: 390, height: 844, scale: 2, dark: true},
		{width: 360, height: 740, scale: 2, calm: true},
	} {
		t.Run(l.String(), func(t *testing.T) {
			tab := openTab(t, browser, d.page, l)
			tab.eventually(patience, boardIsUp, "the board is up")
			tab.eventually(patience, `document.querySelector('.px.up, .px.down')`, "a price moves")
			tab.eventually(patience, updatesCounted, "updates are counted")
			if w := eval[int64](tab, `document.documentElement.scrollWidth`); w > l.width {
				t.Errorf("the page is %d pixels wide on a screen of %d", w, l.width)
			}
			// Of no ground the opacity, which comes last, is 0.
			if stands := `[...document.querySelectorAll('.rows .px')].some((e) => !/[ ,]0\)$/.test(getComputedStyle(e).backgroundColor))`; l.calm {
				if eval[bool](tab, stands) {
					t.Error("a price flashes although less motion was asked for")
				}
			} else {
				tab.eventually(patience, stands, "a price that moved stands out")
			}
			if found := eval[string](tab, unreadable); found != "" {
				t.Error(found)
			}
			grounds[l.dark] = eval[string](tab, ground)
			tab.screenshot("board-" + l.String())
			tab.silent()
		})
	}
	if grounds[false] == grounds[true] {
		t.Errorf("light and dark have the same ground, %s", grounds[true])
	}
}

// unreadable lists the figures that are cut short, which would make them other figures, or that stand over each other.
const unreadable = `(() => {
	const found = [];
	for (const row of document.querySelectorAll('.row[data-symbol]')) {
		const cells = [...row.querySelectorAll('.sym, .px, .chg, .bid, .ask, .spr, .act')].filter((e) => e.offsetParent && e.textContent);
		const boxes = cells.map((e) => {
			const range = document.createRange();
			range.selectNodeContents(e);
			return range.getBoundingClientRect();
		});
		cells.forEach((e, i) => {
			if (!e.matches('.sym') && e.scrollWidth > e.clientWidth + 1) found.push(e.textContent + ' is cut');
			for (let k = 0; k < i; k++) {
				const [a, b] = [boxes[k], boxes[i]];
				if (a.left < b.right && b.left < a.right && a.top < b.bottom - 2 && b.top < a.bottom - 2) found.push(cells[k].textContent + ' over ' + e.textContent);
			}
		});
	}
	return found.join(', ');
})()`

func testEdgeRestart(t *testing.T, browser context.Context, d *dev, bin string, nc *nats.Conn) {
	ports := freePorts(t, 2)
	run := func() *process {
		return start(t, "127.0.0.1:"+ports[0], filepath.Join(bin, "edge"), "--nats", d.nats, "--listen", "127.0.0.1:"+ports[1], "--name", "restarted")
	}
	e := run()
	tab := openTab(t, browser, "http://127.0.0.1:"+ports[1]+"/", desktop)
	tab.eventually(patience, boardIsUp, "the board is up")
	tab.eventually(patience, state+` === 'live'`, "the page is live")

	for round, end := range []func(){func() { e.kill() }, func() { e.stop() }} {
		end()
		tab.eventually(patience, state+` !== 'live'`, "round %d: the page notices that its edge is gone", round)
		want := fmt.Sprintf("7%d.25", round)
		publish(t, nc, "WHILE-AWAY", want)
		e = run()
		tab.eventually(patience, state+` === 'live'`, "round %d: the page is back by itself", round)
		tab.eventually(patience, price("WHILE-AWAY")+` === '`+want+`'`, "round %d: a price published while the edge was away is shown", round)
		tab.eventually(patience, updatesCounted, "round %d: prices move again", round)
	}
	// The browser itself reports the attempts that found nobody; nobody can keep it from that.
	tab.silent("WebSocket connection to", "ERR_CONNECTION_REFUSED", "Failed to load resource")
	if n := eval[int](tab, `performance.getEntriesByType('navigation').length`); n != 1 || strings.Contains(eval[string](tab, `performance.getEntriesByType('navigation')[0].type`), "reload") {
		t.Error("the page was loaded again")
	}
}
