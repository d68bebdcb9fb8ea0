//go:build browser

package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/heapprofiler"
	"github.com/chromedp/cdproto/memory"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/chromedp"
	"github.com/nats-io/nats.go"

	"github.com/tickfan/tickfan/libs/natstest"
)

// The pace at which a page is watched.
const (
	paceSymbols = 100
	paceTicks   = 500 // a second, over all symbols
	paceFor     = 8 * paceTicks
)

// tall shows every row at once, which is the most that there is to draw.
var tall = look{width: 1280, height: 3800, scale: 1}

// TestPace publishes 500 ticks a second, says how the page fares, and fails on what is wrong on a machine of any speed.
func TestPace(t *testing.T) {
	chromium := findChromium(t)
	d := startDev(t, build(t, "dev"), "--source", "none")
	nc, err := nats.Connect(d.nats)
	if err != nil {
		t.Fatalf("connect %s: %v", d.nats, err)
	}
	t.Cleanup(nc.Close)
	browser := startBrowser(t, chromium)
	t.Run("Desktop", func(t *testing.T) { testPace(t, browser, d, nc, desktop) })
	t.Run("AllRows", func(t *testing.T) { testPace(t, browser, d, nc, tall) })
	t.Run("Phone", func(t *testing.T) { testPace(t, browser, d, nc, look{width: 390, height: 844, scale: 2}) })
	t.Run("OnceAFrame", func(t *testing.T) { testOnceAFrame(t, browser, d, nc) })
	t.Run("Hidden", func(t *testing.T) { testHidden(t, browser, d, nc) })
}

// ticker publishes until it is stopped.
type ticker struct {
	count  atomic.Int64
	stop   func()            // returns when the last tick has left
	newest map[string]string // price by symbol; to be read once it is stopped
}

func startTicker(t *testing.T, nc *nats.Conn) *ticker {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	k := &ticker{newest: map[string]string{}, stop: func() { cancel(); wg.Wait() }}
	t.Cleanup(k.stop)
	wg.Go(func() {
		every := time.NewTicker(time.Second / paceTicks)
		defer every.Stop()
		for began := time.Now(); ; {
			for due := int64(time.Since(began) * paceTicks / time.Second); k.count.Load() < due; k.count.Add(1) {
				if err := k.publish(nc); err != nil {
					t.Errorf("publish: %v", err)
					return
				}
			}
			select {
			case <-every.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return k
}

// publish moves one of the prices by some cents; each symbol has its own size.
func (k *ticker) publish(nc *nats.Conn) error {
	n := rand.IntN(paceSymbols)
	cents := 1000*(n+1)*(n+1) + rand.IntN(200)
	money := func(cents int) string { return fmt.Sprintf("%d.%02d", cents/100, cents%100) }
	symbol, price := fmt.Sprintf("PACE-%03d", n), money(cents)
	payload, err := json.Marshal(map[string]string{"price": price, "bid": money(cents - 1), "ask": money(cents + 1),
		"open": money(1000*(n+1)*(n+1) + 100), "high": money(cents + 500), "low": money(cents - 500), "volume": "1234.5"})
	if err != nil {
		return err
	}
	k.newest[symbol] = price
	return nc.Publish("ingest."+symbol, payload)
}

// more waits for as many more ticks.
func (k *ticker) more(t *testing.T, ticks int64) {
	t.Helper()
	until := k.count.Load() + ticks
	natstest.Eventually(t, patience+time.Duration(ticks)*time.Second/paceTicks, func() bool { return k.count.Load() >= until }, "%d ticks are published", ticks)
}

// endsOnNewest stops the ticks, brings every row into sight, and waits until each shows the last price of its symbol.
func (k *ticker) endsOnNewest(tab *Tab) {
	tab.t.Helper()
	k.stop()
	tab.see(tall)
	want, err := json.Marshal(k.newest)
	tab.must("encode prices", err)
	tab.eventually(patience, `(() => {
		for (const [symbol, price] of Object.entries(`+string(want)+`)) {
			const row = document.querySelector('[data-symbol="' + symbol + '"]');
			if ([...row.querySelectorAll('.px :is(span, b)')].map((e) => e.textContent).join('') !== price) return false;
		}
		return true;
	})()`, "all %d rows show the newest price", len(k.newest))
}

// openPaced opens the page with a look at its frames and long tasks, and returns when it has a row for each symbol.
func openPaced(t *testing.T, browser context.Context, d *dev, l look) *Tab {
	t.Helper()
	tab := openTab(t, browser, "about:blank", l)
	_, err := chromedp.Call(tab.ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: `
		window.pace = { tasks: [], frames: [] };
		new PerformanceObserver((list) => pace.tasks.push(...list.getEntries().map((e) => e.duration))).observe({ type: 'longtask', buffered: true });
		requestAnimationFrame(function frame(now) {
			pace.frames.push(now);
			requestAnimationFrame(frame);
		});`})
	tab.must("watch the page", err)
	tab.trace("open-"+l.String(), func() {
		tab.must("open "+d.page, chromedp.Do(tab.ctx, chromedp.Navigate(d.page)))
		tab.eventually(patience, fmt.Sprintf(`document.querySelectorAll('[data-symbol]').length === %d`, paceSymbols), "a row for each symbol")
		tab.eventually(patience, updatesCounted, "updates are counted")
	})
	return tab
}

func testPace(t *testing.T, browser context.Context, d *dev, nc *nats.Conn, l look) {
	k := startTicker(t, nc)
	k.more(t, paceTicks) // there is no symbol before
	tab := openPaced(t, browser, d, l)
	k.more(t, 2*paceTicks) // compiled and warm
	opened := eval[[]float64](tab, `pace.tasks.splice(0)`)

	before := tab.burden()
	eval[any](tab, `pace.frames.length = 0`)
	tab.trace("pace-"+l.String(), func() { k.more(t, paceFor) })
	frames, tasks := eval[[]float64](tab, `pace.frames.splice(0)`), eval[[]float64](tab, `pace.tasks.splice(0)`)
	after := tab.burden()
	tab.describe(frames, tasks, opened, before, after)

	// Ticks that are kept, or rows that are made anew, would be thousands; a tick takes 160 bytes. What does grow is the
	// lines, for five minutes.
	if grown := after.heap - before.heap; grown > 100*paceFor {
		t.Errorf("the heap grew by %d KB over %d ticks", grown>>10, paceFor)
	}
	if grown := after.nodes - before.nodes; grown > paceSymbols {
		t.Errorf("%d more nodes after %d ticks", grown, paceFor)
	}

	tab.must("click", chromedp.Do(tab.ctx, chromedp.Click(chromedp.CSS(`[data-sort="activity"]`))))
	tab.eventually(patience, `document.querySelector('[data-column=activity]').ariaSort === 'descending'`, "a click is answered amid the ticks")
	tab.screenshot("pace-" + l.String())
	tab.trace("sort-"+l.String(), func() { k.more(t, 4*paceTicks) }) // rows change places
	tab.describe(eval[[]float64](tab, `pace.frames`), eval[[]float64](tab, `pace.tasks`), nil, after, tab.burden())
	k.endsOnNewest(tab)
	tab.silent()
}

// burden is what the page has cost so far.
type burden struct {
	at                           time.Time
	heap, nodes                  int64         // what is left after the garbage was collected
	tasks, scripts, styles, flow time.Duration // of the main thread
}

func (tab *Tab) burden() burden {
	tab.t.Helper()
	_, err := chromedp.Call(tab.ctx, heapprofiler.CollectGarbage, cdp.Empty{})
	tab.must("collect garbage", err)
	dom, err := chromedp.Call(tab.ctx, memory.GetDOMCounters, cdp.Empty{})
	tab.must("count nodes", err)
	_, err = chromedp.Call(tab.ctx, performance.Enable, performance.EnableParams{})
	tab.must("ask for metrics", err)
	got, err := chromedp.Call(tab.ctx, performance.GetMetrics, cdp.Empty{})
	tab.must("read metrics", err)
	b := burden{at: time.Now(), nodes: dom.Nodes}
	for _, m := range got.Metrics {
		spent := time.Duration(m.Value * float64(time.Second))
		switch m.Name {
		case "JSHeapUsedSize":
			b.heap = int64(m.Value)
		case "TaskDuration":
			b.tasks = spent
		case "ScriptDuration":
			b.scripts = spent
		case "RecalcStyleDuration":
			b.styles = spent
		case "LayoutDuration":
			b.flow = spent
		}
	}
	return b
}

// describe logs figures that depend on the machine, which no test can judge.
func (tab *Tab) describe(frames, tasks, opened []float64, before, after burden) {
	var gaps []float64
	for i := 1; i < len(frames); i++ {
		gaps = append(gaps, frames[i]-frames[i-1])
	}
	if len(gaps) == 0 {
		tab.t.Error("no frame was drawn")
		return
	}
	slices.Sort(gaps)
	took := frames[len(frames)-1] - frames[0]
	percent := func(a, b time.Duration) float64 { return 100 * float64(b-a) / float64(after.at.Sub(before.at)) }
	tab.t.Logf("frames: %.1f a second, p50 %.1f ms, p99 %.1f ms, longest %.1f ms", 1000*float64(len(gaps))/took,
		gaps[len(gaps)/2], gaps[len(gaps)*99/100], gaps[len(gaps)-1])
	tab.t.Logf("tasks over 50 ms: %d %.0f; while the page opened: %.0f", len(tasks), tasks, opened)
	tab.t.Logf("main thread: %.1f %% busy: scripts %.1f %%, styles %.1f %%, layout %.1f %%", percent(before.tasks, after.tasks),
		percent(before.scripts, after.scripts), percent(before.styles, after.styles), percent(before.flow, after.flow))
	tab.t.Logf("memory: heap %d KB, then %d KB; nodes %d, then %d", before.heap>>10, after.heap>>10, before.nodes, after.nodes)
}

// testOnceAFrame: however many ticks come, the rows are changed once a frame, and once a second for their rates.
func testOnceAFrame(t *testing.T, browser context.Context, d *dev, nc *nats.Conn) {
	k := startTicker(t, nc)
	tab := openPaced(t, browser, d, desktop)
	eval[any](tab, countPasses)
	k.more(t, 3*paceTicks)
	got := eval[map[string]float64](tab, `({ passes, frames: pace.frames.length - framesBefore, seconds: (performance.now() - passesSince) / 1000 })`)
	t.Logf("the rows were changed %.0f times in %.0f frames and %.1f s", got["passes"], got["frames"], got["seconds"])
	if got["passes"] == 0 || got["passes"] > got["frames"]+2*got["seconds"]+2 {
		t.Error("want once a frame, and a few times a second for all but the rows")
	}
	k.endsOnNewest(tab)
	tab.silent()
}

// countPasses counts the stretches of script in which something in the page's body was changed.
const countPasses = `(() => {
	window.passes = 0;
	window.passesSince = performance.now();
	window.framesBefore = pace.frames.length;
	new MutationObserver(() => passes++).observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
})()`

// testHidden: a page that nobody sees draws nothing, and all of it when it is seen again.
func testHidden(t *testing.T, browser context.Context, d *dev, nc *nats.Conn) {
	k := startTicker(t, nc)
	tab := openPaced(t, browser, d, desktop)
	// Tabs of these tests always count as seen, so the page is told what a browser would tell it.
	hide := func(hidden bool) {
		eval[any](tab, fmt.Sprintf(`(() => {
			Object.defineProperty(document, 'hidden', { configurable: true, get: () => %t });
			document.dispatchEvent(new Event('visibilitychange'));
		})()`, hidden))
	}
	hide(true)
	eval[any](tab, `new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))`)
	eval[any](tab, countPasses)
	k.more(t, 3*paceTicks)
	if n := eval[int](tab, `passes`); n > 0 {
		t.Errorf("the page was changed %d times while it was hidden", n)
	}
	k.stop()
	hide(false)
	k.endsOnNewest(tab)
	tab.silent()
}
