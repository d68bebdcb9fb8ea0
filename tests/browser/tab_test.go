//go:build browser

package browser

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// patience is how long a test waits for what has no bound of its own. The machine may be busy.
const patience = 30 * time.Second

// findChromium fails the test when there is none: who asks for these tests wants them run.
func findChromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{os.Getenv("CHROMIUM"), "/usr/bin/chromium", "chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); name != "" && err == nil {
			return path
		}
	}
	t.Fatal("no Chromium: `make test-browser` installs Debian's; or name one in CHROMIUM")
	return ""
}

// startBrowser gives a context in which openTab opens tabs. The browser and its profile end with the test.
func startBrowser(t *testing.T, chromium string) context.Context {
	t.Helper()
	ctx, stop := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium),
		chromedp.NoSandbox,
		chromedp.DisableGPU,
		chromedp.Flag("headless", "new"),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
	)...)
	t.Cleanup(stop)
	ctx, closeBrowser := chromedp.NewContext(ctx)
	t.Cleanup(closeBrowser)
	if err := chromedp.Do(ctx); err != nil { // starts it, with a tab that stays empty
		t.Fatalf("start %s: %v", chromium, err)
	}
	return ctx
}

// Tab is one open page. Its methods end the test when the browser fails.
type Tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	messages []string // errors and warnings of the console
}

// look is how a page is seen.
type look struct {
	width, height int64
	scale         float64
	dark, calm    bool // prefers-color-scheme: dark, prefers-reduced-motion: reduce
}

func (l look) String() string {
	return fmt.Sprintf("%s-%dx%d", map[bool]string{false: "light", true: "dark"}[l.dark], l.width, l.height)
}

var desktop = look{width: 1280, height: 900, scale: 1}

// openTab opens url in a tab of its own.
func openTab(t *testing.T, browser context.Context, url string, l look) *Tab {
	t.Helper()
	ctx, closeTab := chromedp.NewContext(browser)
	t.Cleanup(closeTab)
	tab := &Tab{t: t, ctx: ctx}

	console := chromedp.Console(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for m, err := range console {
			if err != nil {
				return
			}
			if m.Type == chromedp.ConsoleError || m.Type == chromedp.ConsoleWarning || m.IsException() {
				tab.mu.Lock()
				tab.messages = append(tab.messages, strings.TrimSpace(m.String()+" "+m.URL))
				tab.mu.Unlock()
			}
		}
	})
	t.Cleanup(func() { closeTab(); wg.Wait() })

	// Of several tabs only one is in front; the others would stop drawing, which is right but not what is tested.
	_, err := chromedp.Call(ctx, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
	tab.must("emulate focus", err)
	tab.see(l)
	tab.must("open "+url, chromedp.Do(ctx, chromedp.Navigate(url)))
	return tab
}

func (tab *Tab) must(what string, err error) {
	tab.t.Helper()
	if err != nil {
		tab.t.Fatalf("%s: %v", what, err)
	}
}

// see changes how the page is seen.
func (tab *Tab) see(l look) {
	tab.t.Helper()
	_, err := chromedp.Call(tab.ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: l.width, Height: l.height, DeviceScaleFactor: l.scale, Mobile: l.width < 600})
	tab.must("set the size", err)
	scheme, motion := "light", "no-preference"
	if l.dark {
		scheme = "dark"
	}
	if l.calm {
		motion = "reduce"
	}
	_, err = chromedp.Call(tab.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: motion}}})
	tab.must("set the preferences", err)
}

// eval is the value of a JavaScript expression; a promise is awaited.
func eval[T any](tab *Tab, expression string) T {
	tab.t.Helper()
	v, err := chromedp.Run(tab.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	tab.must("evaluate "+expression, err)
	return v
}

// eventually waits until the expression is true.
func (tab *Tab) eventually(within time.Duration, expression, what string, args ...any) {
	tab.t.Helper()
	deadline := time.Now().Add(within)
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for !eval[bool](tab, "Boolean("+expression+")") {
		if time.Now().After(deadline) {
			tab.t.Fatalf("not within %s: %s; the page says: %s", within, fmt.Sprintf(what, args...),
				eval[string](tab, `document.body.innerText.slice(0, 600)`))
		}
		<-again.C
	}
}

// cell is the JavaScript expression of the text in a symbol's cell; class as in the page: px, chg, bid, ask, spr, act.
func cell(symbol, class string) string {
	return fmt.Sprintf(`document.querySelector('[data-symbol="%s"] .%s')?.textContent`, symbol, class)
}

// price is the JavaScript expression of a symbol's price, without the mark before it.
func price(symbol string) string {
	return fmt.Sprintf(`[...document.querySelectorAll('[data-symbol="%s"] .px :is(span, b)')].map((e) => e.textContent).join('')`, symbol)
}

// state is the JavaScript expression of the connection's state: connecting, live, stale, waiting, stopped.
const state = `document.getElementById('link').dataset.state`

// silent fails the test if the page wrote an error or a warning to the console, or threw, other than what allowed
// says.
func (tab *Tab) silent(allowed ...string) {
	tab.t.Helper()
	tab.mu.Lock()
	defer tab.mu.Unlock()
	for _, m := range tab.messages {
		if !slices.ContainsFunc(allowed, func(a string) bool { return strings.Contains(m, a) }) {
			tab.t.Errorf("console: %s", m)
		}
	}
}

// screenshot writes the page as it is seen into the folder that SCREENSHOTS names, if it names one.
func (tab *Tab) screenshot(name string) {
	tab.t.Helper()
	folder := os.Getenv("SCREENSHOTS")
	if folder == "" {
		return
	}
	png, err := chromedp.Run(tab.ctx, chromedp.CaptureScreenshot())
	tab.must("take a screenshot", err)
	tab.must("make the folder", os.MkdirAll(folder, 0o755))
	tab.must("write the screenshot", os.WriteFile(folder+"/"+name+".png", png, 0o644))
}
