package edge

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

// history is what a region's routers answer ranges from.
type history struct {
	ticks   map[subject.Symbol][]tick.Tick // as stored
	asked   []tick.Range
	refuse  int  // so many questions are refused
	unasked bool // questions for ranges get no answer
	cut     int  // a refusal gives so many ticks of the range
}

func (r *region) storeLocked(t tick.Tick) {
	if r.ticks == nil {
		r.ticks = map[subject.Symbol][]tick.Tick{}
	}
	r.ticks[t.Symbol] = append(r.ticks[t.Symbol], t)
	if t.After(r.newest[t.Symbol].Position) {
		r.newest[t.Symbol] = t
	}
}

// store has a tick in the history that no bucket is sent.
func (r *region) store(ticks ...tick.Tick) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range ticks {
		r.storeLocked(t)
	}
}

func (r *region) askedRange(m *nats.Msg, g tick.Range) {
	r.asked = append(r.asked, g)
	if r.unasked {
		return
	}
	var a tick.NewestAnswer
	last := tick.Position{}
	for _, t := range r.ticks[g.Symbol] {
		if g.Holds(t.Position) {
			a.Ticks = append(a.Ticks, t.Append(nil))
		}
		if t.After(last) {
			last = t.Position
		}
	}
	switch end := (tick.Position{Epoch: g.Epoch, Seq: g.To}); {
	case uint64(len(a.Ticks)) == g.Len():
	case end.After(last) && last.Epoch > 0:
		a.Lack = tick.Ahead
	default:
		a.Lack = tick.Gone
	}
	if r.refuse > 0 {
		r.refuse--
		a.Ticks, a.Lack = a.Ticks[:min(r.cut, len(a.Ticks))], tick.Refused
	}
	lack := a.Lack
	for chunk := range slices.Chunk(a.Ticks, 100) { // as several messages
		part := tick.NewestAnswer{Ticks: chunk}
		_ = m.Respond(part.Append(nil))
	}
	end := tick.NewestAnswer{Last: true, Lack: lack}
	_ = m.Respond(end.Append(nil))
}

func (r *region) questions() (all []tick.Range) {
	r.set(func() { all = slices.Clone(r.asked) })
	return all
}

func stored(sym subject.Symbol, epoch, seq uint64, prev ...uint64) tick.Tick {
	t := tick.Tick{Symbol: sym, Position: tick.Position{Epoch: epoch, Seq: seq}, At: 1,
		Quote: tick.Quote{Price: tick.NewDecimal(seq, 0), TS: 1763769600000000 + int64(seq)}}
	if len(prev) == 2 {
		t.Prev = tick.Position{Epoch: prev[0], Seq: prev[1]}
	}
	return t
}

func (c *client) every(after ...uint64) {
	c.t.Helper()
	req := session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"BTC-USD"}, Mode: session.Every}
	if len(after) == 2 {
		req.After = map[subject.Symbol]tick.Position{"BTC-USD": {Epoch: after[0], Seq: after[1]}}
	}
	c.send(req)
	c.expect(session.OpSubscribed)
}

// ticks expects a run of ticks.
func (c *client) ticks(epoch, from, to uint64) {
	c.t.Helper()
	for seq := from; seq <= to; seq++ {
		if m := c.next(); m.Op != session.OpTick || m.Epoch != epoch || m.Seq != seq {
			c.t.Fatalf("got %+v, want tick %d/%d", m, epoch, seq)
		}
	}
}

// gap expects one.
func (c *client) gap(epoch, from, to uint64, url bool) session.Message {
	c.t.Helper()
	m := c.expect(session.OpGap)
	want := ""
	if url {
		want = fmt.Sprintf("/v1/ticks/BTC-USD?epoch=%d&from=%d&to=%d", epoch, from, to)
	}
	if m.Epoch != epoch || m.From != from || m.To != to || m.URL != want {
		c.t.Fatalf("got %+v, want a gap of epoch %d from %d to %d, url %q", m, epoch, from, to, want)
	}
	return m
}

func TestHoleIsFilled(t *testing.T) {
	formats(t, func(t *testing.T, f session.Format) {
		r := newRegion(t)
		r.publish("BTC-USD", 1, "1")
		e := startEdge(t, r)
		c := dial(t, e, f)
		c.every()
		c.ticks(7, 1, 1)
		r.publish("BTC-USD", 2, "2")
		r.store(stored("BTC-USD", 7, 3), stored("BTC-USD", 7, 4))
		r.publish("BTC-USD", 5, "5")
		r.publish("BTC-USD", 6, "6")
		c.ticks(7, 2, 6)
		if got := r.questions(); len(got) != 1 || got[0] != (tick.Range{Symbol: "BTC-USD", Epoch: 7, From: 3, To: 4}) {
			t.Errorf("asked %+v", got)
		}
	})
}

// A lost batch is seen by its number; the newest value, which is asked for then, comes behind the hole, and no reader is
// moved past it.
func TestNewestMovesNobodyPastAHole(t *testing.T) {
	r := newRegion(t)
	r.publish("BTC-USD", 1, "1")
	e := startEdge(t, r)
	c := dial(t, e, session.JSON)
	c.every()
	c.ticks(7, 1, 1)
	for seq := uint64(2); seq <= 9; seq++ {
		r.set(func() { r.skipBatch = true })
		r.publish("BTC-USD", seq, fmt.Sprint(seq))
	}
	r.beat()
	c.ticks(7, 2, 9)
}

// What the history no longer has is told as a gap, what it has comes.
func TestHoleWithItsBeginningGone(t *testing.T) {
	r := newRegion(t)
	r.publish("BTC-USD", 1, "1")
	e := startEdge(t, r)
	c := dial(t, e, session.JSON)
	c.every()
	c.ticks(7, 1, 1)
	r.store(stored("BTC-USD", 7, 5), stored("BTC-USD", 7, 7))
	r.publish("BTC-USD", 8, "8")
	c.gap(7, 2, 4, false)
	c.ticks(7, 5, 5)
	c.gap(7, 6, 6, false)
	c.ticks(7, 7, 8)
}

// An `after` at an edge that has never seen the symbol: what came since is fetched.
func TestResumeAtAnotherEdge(t *testing.T) {
	r := newRegion(t)
	for seq := uint64(1); seq <= 300; seq++ {
		r.store(stored("BTC-USD", 7, seq))
	}
	e := startEdge(t, r)
	c := dial(t, e, session.JSON)
	c.every(7, 40)
	c.ticks(7, 41, 300)
	r.publish("BTC-USD", 301, "301")
	c.ticks(7, 301, 301)

	// Before the epoch's first tick, and at the newest.
	c = dial(t, e, session.JSON)
	c.every(7, 0)
	c.ticks(7, 1, 301)
	c = dial(t, e, session.JSON)
	c.every(7, 301)
	r.publish("BTC-USD", 302, "302")
	c.ticks(7, 302, 302)
}

// What lies farther back than the ring reaches is not asked for; the gap says where it can be fetched, in pieces that
// HTTP serves.
func TestResumeFarBehind(t *testing.T) {
	const last = 5000
	r := newRegion(t)
	for seq := uint64(1); seq <= last; seq++ {
		r.store(stored("BTC-USD", 7, seq))
	}
	e := startEdge(t, r)
	c := dial(t, e, session.JSON)
	c.every(7, 1)
	m := c.expect(session.OpGap)
	if m.From != 2 || m.To < last-1000 || m.URL != "" {
		t.Fatalf("got %+v", m)
	}
	c.ticks(7, m.To+1, last)
	for _, g := range r.questions() {
		if g.Len() > 512 {
			t.Errorf("asked for %d ticks", g.Len())
		}
	}
	c = dial(t, e, session.JSON)
	c.every(7, m.To-600)
	m = c.gap(7, m.To-599, m.To, true)
	c.ticks(7, m.To+1, last)
	status, _, body := get(t, e, "GET", m.URL)
	if n := strings.Count(body, `"symbol"`); status != 200 || n != 600 {
		t.Errorf("%s: %d, %d ticks", m.URL, status, n)
	}
}

func TestResumeFromAnEarlierEpoch(t *testing.T) {
	r := newRegion(t)
	r.store(stored("BTC-USD", 5, 1), stored("BTC-USD", 5, 2), stored("BTC-USD", 5, 3), stored("BTC-USD", 5, 4),
		stored("BTC-USD", 6, 1, 5, 4), stored("BTC-USD", 6, 2), stored("BTC-USD", 9, 1, 6, 2), stored("BTC-USD", 9, 2), stored("BTC-USD", 9, 3))
	e := startEdge(t, r)
	c := dial(t, e, session.JSON)
	c.every(5, 2)
	c.ticks(5, 3, 4)
	c.ticks(6, 1, 2)
	c.ticks(9, 1, 3)

	// One that the history has no tick of: its end is known by what the next one says.
	c = dial(t, e, session.JSON)
	c.every(4, 7)
	c.gap(4, 8, 0, false)
	c.ticks(5, 1, 4)
	c.ticks(6, 1, 2)
	c.ticks(9, 1, 3)

	r.send(stored("BTC-USD", 11, 1, 10, 3)) // of 10 there is nothing but that it had three
	c.gap(9, 4, 0, false)
	c.gap(10, 1, 3, false)
	c.ticks(11, 1, 1)
}

// Without an answer the gap is told after a second, with the place to fetch it from; nobody else waits for that.
func TestUnansweredHoleIsTold(t *testing.T) {
	r := newRegion(t)
	for seq := uint64(1); seq <= 20; seq++ {
		r.store(stored("BTC-USD", 7, seq))
	}
	r.unasked = true
	e := startEdge(t, r)
	waits, passes := dial(t, e, session.JSON), dial(t, e, session.JSON)
	passes.every()
	passes.ticks(7, 20, 20)
	waits.every(7, 10)
	for seq := uint64(21); seq <= 30; seq++ {
		r.publish("BTC-USD", seq, fmt.Sprint(seq))
		passes.ticks(7, seq, seq)
	}
	waits.gap(7, 11, 19, true)
	waits.ticks(7, 20, 30)

	// Then it is not asked again at once, for nobody.
	n := len(r.questions())
	for range 4 {
		c := dial(t, e, session.JSON)
		c.every(7, 10)
		c.gap(7, 11, 19, true)
	}
	if again := len(r.questions()) - n; again > 4 { // buckets that had not asked
		t.Errorf("asked %d times more", again)
	}
}

// A refusal is asked again, for what has not come yet.
func TestRefusedRangeIsAskedAgain(t *testing.T) {
	r := newRegion(t)
	for seq := uint64(1); seq <= 20; seq++ {
		r.store(stored("BTC-USD", 7, seq))
	}
	r.refuse, r.cut = 2, 4
	e := startEdge(t, r)
	c := dial(t, e, session.JSON)
	c.every(7, 0)
	c.ticks(7, 1, 20)
	got := r.questions()
	want := []tick.Range{{Symbol: "BTC-USD", Epoch: 7, From: 1, To: 19}, {Symbol: "BTC-USD", Epoch: 7, From: 5, To: 19}, {Symbol: "BTC-USD", Epoch: 7, From: 9, To: 19}}
	if !slices.Equal(got, want) {
		t.Errorf("asked %+v, want %+v", got, want)
	}
}

// A router's restart amid a hole: the edge asks until one answers.
func TestRouterRestartsAmidAHole(t *testing.T) {
	r := newRegion(t)
	r.publish("BTC-USD", 1, "1")
	e := startEdge(t, r)
	c := dial(t, e, session.JSON)
	c.every()
	c.ticks(7, 1, 1)
	r.store(stored("BTC-USD", 7, 2))
	r.set(func() { r.refuse = 1 << 20 })
	r.publish("BTC-USD", 3, "3")
	natstest.Eventually(t, wait, func() bool { return len(r.questions()) > 0 }, "a question")
	r.set(func() { r.refuse = 0 })
	c.ticks(7, 2, 3)
}

// However many miss the same, a bucket asks once.
func TestHoleIsAskedOnce(t *testing.T) {
	r := newRegion(t)
	r.publish("BTC-USD", 1, "1")
	e := startEdge(t, r)
	var all []*client
	for range 40 {
		c := dial(t, e, session.JSON)
		c.every()
		c.ticks(7, 1, 1)
		all = append(all, c)
	}
	r.store(stored("BTC-USD", 7, 2))
	r.publish("BTC-USD", 3, "3")
	for _, c := range all {
		c.ticks(7, 2, 3)
	}
	var buckets int
	r.set(func() { buckets = len(r.interest) })
	if n := len(r.questions()); n > buckets {
		t.Errorf("%d questions from %d buckets", n, buckets)
	}
}

func TestHTTPRange(t *testing.T) {
	r := newRegion(t)
	for seq := uint64(5); seq <= 30; seq++ {
		if seq != 20 {
			r.store(stored("BTC-USD", 7, seq))
		}
	}
	e := startEdge(t, r)
	for _, x := range []struct {
		path   string
		status int
		seqs   string // or the code
		cache  string
	}{
		{"BTC-USD?epoch=7&from=5&to=7", 200, "[5 6 7]", "public, max-age=31536000, immutable"},
		{"BTC-USD?from=30&to=30&epoch=7&x=1", 200, "[30]", "public, max-age=31536000, immutable"},
		{"BTC-USD?epoch=7&from=3&to=6", 200, "[5 6]", "no-store"},
		{"BTC-USD?epoch=7&from=19&to=21", 200, "[19 21]", "no-store"},
		{"BTC-USD?epoch=7&from=29&to=1000", 200, "[29 30]", "no-store"},
		{"BTC-USD?epoch=7&from=31&to=31", 200, "[]", "no-store"},
		{"BTC-USD?epoch=7&from=1&to=4", 410, "gone", ""},
		{"BTC-USD?epoch=6&from=1&to=4", 410, "gone", ""},
		{"NEW-USD?epoch=6&from=1&to=4", 404, "no_price", ""},
		{"btc?epoch=6&from=1&to=4", 400, "bad_symbol", ""},
		{"BTC-USD?epoch=7&from=5", 400, "bad_range", ""},
		{"BTC-USD?epoch=7", 400, "bad_range", ""},
		{"BTC-USD?to=7", 400, "bad_range", ""},
		{"BTC-USD?epoch=7&from=&to=6", 400, "bad_range", ""},
		{"BTC-USD?epoch=7&from=0&to=6", 400, "bad_range", ""},
		{"BTC-USD?epoch=0&from=1&to=6", 400, "bad_range", ""},
		{"BTC-USD?epoch=7&from=-1&to=6", 400, "bad_range", ""},
		{"BTC-USD?epoch=7&from=1.0&to=6", 400, "bad_range", ""},
		{"BTC-USD?epoch=7&from=7&to=6", 400, "bad_range", ""},
		{"BTC-USD?epoch=7&from=1&to=1001", 400, "bad_range", ""},
		{"BTC-USD?epoch=7&from=1&to=18446744073709551615", 400, "bad_range", ""},
		{"BTC-USD?epoch=7&from=1&to=99999999999999999999", 400, "bad_range", ""},
	} {
		status, head, body := get(t, e, "GET", "/v1/ticks/"+x.path)
		var got struct {
			Ticks []struct {
				Seq   uint64 `json:"seq"`
				Price string `json:"price"`
			} `json:"ticks"`
			Error struct{ Code, Message string } `json:"error"`
		}
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Errorf("%s: %v: %s", x.path, err, body)
			continue
		}
		seqs := []uint64{}
		for _, k := range got.Ticks {
			seqs = append(seqs, k.Seq)
			if k.Price != fmt.Sprint(k.Seq) {
				t.Errorf("%s: %s", x.path, body)
			}
		}
		said := got.Error.Code
		if status == 200 {
			said = fmt.Sprint(seqs)
		}
		if x.cache == "" {
			x.cache = "no-store"
		}
		if status != x.status || said != x.seqs || head.Get("Cache-Control") != x.cache {
			t.Errorf("%s: %d %q %s, want %d %s %s", x.path, status, head.Get("Cache-Control"), body, x.status, x.seqs, x.cache)
		}
	}
}

// Who asks for the same range shares the question; a refusal is asked again.
func TestHTTPRangeIsShared(t *testing.T) {
	r := newRegion(t)
	for seq := uint64(1); seq <= 10; seq++ {
		r.store(stored("BTC-USD", 7, seq))
	}
	r.refuse, r.cut = 3, 2
	e := startEdge(t, r)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			status, _, body := get(t, e, "GET", "/v1/ticks/BTC-USD?epoch=7&from=1&to=10")
			if status != 200 || strings.Count(body, `"symbol"`) != 10 {
				t.Errorf("%d %s", status, body)
			}
		})
	}
	all.Wait()
	if n := len(r.questions()); n > 20 {
		t.Errorf("%d questions for 50 clients", n)
	}
}

// While no router answers, ranges end with 503, also those that wait for their turn.
func TestHTTPRangeWithoutRouter(t *testing.T) {
	r := newRegion(t)
	e := startEdge(t, r)
	r.set(func() { r.mute = true })
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			status, head, body := get(t, e, "GET", fmt.Sprintf("/v1/ticks/BTC-USD?epoch=7&from=%d&to=10000", 9999-i))
			if status != http.StatusServiceUnavailable || head.Get("Retry-After") == "" || !strings.Contains(body, "unavailable") {
				t.Errorf("%d %s", status, body)
			}
		})
	}
	began := time.Now()
	all.Wait()
	if took := time.Since(began); took > 2*wait {
		t.Errorf("took %s", took)
	}
}
