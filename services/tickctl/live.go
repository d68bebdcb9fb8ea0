package tickctl

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	tickfan "github.com/tickfan/tickfan/libs/sdk/go"
)

const (
	redrawEvery = 200 * time.Millisecond
	rateSpan    = 5 // seconds that a rate is of
)

// live is a table that is drawn anew in place, for people at a terminal:
//
//	SYMBOL        PRICE       BID       ASK   SEQ   UPDATES/S    AGE
//	BTC-USD    64123.51  64123.50  64123.52  1042         2.4   12ms
//
//	14:03:21.482  connected to ws://localhost:8080/v1/ws
type live struct {
	screen *screen
	delay  func(tickfan.Tick) time.Duration
	now    func() time.Time
	began  time.Time
	rows   []*liveRow
	note   string // the last thing that was no tick
	stale  bool
}

// liveRow is one symbol.
type liveRow struct {
	symbol string
	tick   tickfan.Tick // the newest; without a Symbol: none yet
	counts [rateSpan + 1]int
	second int64 // of the newest of counts, since 1970
}

func newLive(s *screen, delay func(tickfan.Tick) time.Duration, symbols []string) *live {
	l := &live{screen: s, delay: delay, now: time.Now}
	l.began = l.now()
	for _, name := range symbols {
		if l.row(name) == nil {
			l.rows = append(l.rows, &liveRow{symbol: name})
		}
	}
	return l
}

func (l *live) row(symbol string) *liveRow {
	i := slices.IndexFunc(l.rows, func(r *liveRow) bool { return r.symbol == symbol })
	if i < 0 {
		return nil
	}
	return l.rows[i]
}

func (l *live) subscribed(tickfan.Ack) error { return l.redraw() }

func (l *live) event(event tickfan.Event) error {
	switch e := event.(type) {
	case tickfan.Tick:
		if r := l.row(e.Symbol); r != nil {
			r.tick = e
			r.add(l.now().Unix())
		}
		return nil
	case tickfan.Stale, tickfan.Disconnected:
		l.stale = true
	case tickfan.Fresh, tickfan.Connected:
		l.stale = false
	}
	l.note = l.now().Format(clockForm) + "  "
	if gap, ok := event.(tickfan.Gap); ok {
		l.note += gap.Symbol + "  "
	}
	l.note += told(event)
	return nil
}

func (l *live) redraw() error {
	now := l.now()
	c := &columns{names: []string{"SYMBOL", ">PRICE", ">BID", ">ASK", ">SEQ", ">UPDATES/S", ">AGE"}}
	for _, r := range l.rows {
		if r.tick.Symbol == "" {
			c.add(r.symbol, "no price yet", "-", "-", "-", "-", "-")
			continue
		}
		age := short(l.delay(r.tick))
		if l.stale {
			age += " stale"
		}
		c.add(r.symbol, r.tick.Price.String(), cmp.Or(r.tick.Bid.String(), "-"), cmp.Or(r.tick.Ask.String(), "-"), fmt.Sprint(r.tick.Seq),
			perSecond(r.sum(now.Unix()), l.span(now)), age)
	}
	return l.screen.draw(append(c.lines(), "", l.note))
}

// span is what the counts are of: the seconds that are over, or less at the beginning.
func (l *live) span(now time.Time) time.Duration {
	return max(min(now.Sub(l.began), rateSpan*time.Second+time.Duration(now.Nanosecond())), time.Second)
}

// add counts a tick in a second.
func (r *liveRow) add(second int64) {
	r.forget(second)
	r.counts[second%int64(len(r.counts))]++
}

// sum is of the last seconds and the one that runs.
func (r *liveRow) sum(second int64) (n int) {
	r.forget(second)
	for _, c := range r.counts {
		n += c
	}
	return n
}

// forget makes room for a second.
func (r *liveRow) forget(second int64) {
	for s := max(r.second+1, second-rateSpan); s <= second; s++ {
		r.counts[s%int64(len(r.counts))] = 0
	}
	r.second = max(r.second, second)
}

// told is an event that is no tick, for people.
func told(event tickfan.Event) string {
	text := ""
	switch e := event.(type) {
	case tickfan.Gap:
		to := "the end"
		if e.To > 0 {
			to = fmt.Sprint(e.To)
		}
		text = fmt.Sprintf("gap: ticks %d to %s of epoch %d are missing", e.From, to, e.Epoch)
	case tickfan.Stale:
		silence := ""
		if e.Age > 0 {
			silence = " for " + short(e.Age)
		}
		text = "stale: nothing heard from ingest" + silence + "; prices may be old"
	case tickfan.Fresh:
		text = "fresh: ingest is heard again"
	case tickfan.Connected:
		text = "connected to " + e.URL
	case tickfan.Disconnected:
		text = fmt.Sprintf("disconnected: %v; next attempt in %s", e.Err, short(e.Retry))
	case tickfan.Unsubscribed:
		text = fmt.Sprintf("no longer subscribed: %s: %v", strings.Join(e.Symbols, " "), e.Err)
	}
	return strings.ReplaceAll(text, "\n", "; ")
}
