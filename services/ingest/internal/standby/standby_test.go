package standby

import (
	"slices"
	"testing"
	"time"

	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

const keep = 6 * time.Second

var start = time.Unix(1763769600, 0)

// desk is a Held and what it has stamped.
type desk struct {
	*Held
	leads   bool
	room    int // so many may still be stamped
	stamped []string
	now     time.Time
}

func open() *desk {
	d := &desk{room: 100, now: start}
	d.Held = New(keep, 3, func() bool { return d.leads })
	return d
}

func quote(price string, ts int64) tick.Quote {
	return tick.Quote{Price: tick.MustDecimal(price), TS: ts}
}

func (d *desk) stamp(s subject.Symbol, price string) func() bool {
	return func() bool {
		if d.room == 0 {
			return false
		}
		d.room--
		d.stamped = append(d.stamped, string(s)+" "+price)
		return true
	}
}

// own is a price that a leader stamps himself.
func (d *desk) own(s subject.Symbol, price string) { d.Stamp(s, func() { d.stamp(s, price)() }) }

// price comes while another one leads, a millisecond after what was before.
func (d *desk) price(s subject.Symbol, price string) {
	d.now = d.now.Add(time.Millisecond)
	d.Hold(s, quote(price, d.now.UnixMicro()), d.now, d.stamp(s, price))
}

func (d *desk) tick(s subject.Symbol, price string) {
	d.now = d.now.Add(time.Millisecond)
	d.Tick(&tick.Tick{Symbol: s, Quote: quote(price, 1)}, d.now)
}

func (d *desk) takesOver(t *testing.T, want ...string) {
	t.Helper()
	d.Won(d.now)
	d.leads = true
	if n := d.TakeOver(); n != len(want) || !slices.Equal(d.stamped, want) {
		t.Errorf("%d stamped: %q, want %q", n, d.stamped, want)
	}
}

func TestWhatTheLeaderHadNotIsStamped(t *testing.T) {
	d := open()
	d.price("A", "1")
	d.price("B", "1")
	d.price("A", "2") // the newest of each, in the order in which they came
	d.price("C", "1")
	d.tick("C", "1")
	d.tick("B", "0.9") // another price
	d.takesOver(t, "B 1", "A 2")
}

func TestTickBeforeItsPrice(t *testing.T) {
	d := open()
	d.tick("A", "1")
	d.price("A", "1") // the same, on its slower way
	d.tick("B", "1")
	d.now = d.now.Add(2 * early)
	d.price("B", "1") // once more: an unchanged price is a tick, too
	d.price("C", "1")
	d.tick("C", "2")
	d.price("C", "2") // it was before, and so is what is held
	d.takesOver(t, "B 1")
}

func TestTooManySymbols(t *testing.T) {
	d := open()
	for _, s := range []subject.Symbol{"A", "B", "C", "D", "A"} {
		d.price(s, "1")
	}
	d.takesOver(t, "B 1", "C 1", "A 1")
}

// Prices that the leader refuses do not take the room for ever.
func TestOldPricesMakeRoom(t *testing.T) {
	d := open()
	for _, s := range []subject.Symbol{"A", "B", "C"} {
		d.price(s, "1")
	}
	d.now = d.now.Add(keep)
	d.price("D", "1")
	d.price("E", "1") // within the same second
	d.takesOver(t, "D 1", "E 1")
}

func TestStoppedTakesNothingOver(t *testing.T) {
	d := open()
	d.price("A", "1")
	d.Stop()
	d.price("B", "1")
	d.takesOver(t)
	d.price("C", "1")
	if len(d.stamped) > 0 {
		t.Errorf("stamped %q", d.stamped)
	}
}

func TestOldPricesAreNotStamped(t *testing.T) {
	d := open()
	d.price("A", "1")
	d.now = d.now.Add(keep)
	d.price("B", "1")
	d.takesOver(t, "B 1")
}

// What was held when the lease was won is stamped, however long it takes until it may be.
func TestPauseBeforeTheTakeOver(t *testing.T) {
	d := open()
	d.price("A", "1")
	d.price("B", "1")
	d.price("C", "1")
	d.Won(d.now)
	d.now = d.now.Add(time.Minute)
	if n := d.TakeOver(); n != 0 || len(d.stamped) > 0 {
		t.Fatalf("%d stamped before the epoch: %q", n, d.stamped)
	}
	d.leads, d.room = true, 1
	if n := d.TakeOver(); n != 1 {
		t.Errorf("%d stamped, want 1 before the pause", n)
	}
	d.room = 100
	d.own("B", "2")
	if n := d.TakeOver(); n != 1 || !slices.Equal(d.stamped, []string{"A 1", "B 2", "C 1"}) {
		t.Errorf("%d stamped after the pause: %q", n, d.stamped)
	}
}

// Who leads stamps what comes by himself; what was held of the same symbol must not come after it.
func TestLeading(t *testing.T) {
	d := open()
	d.price("A", "1")
	d.price("B", "1")
	d.price("C", "1")
	d.leads = true
	d.own("A", "2")   // between the begin of the epoch and TakeOver
	d.price("C", "2") // seen as standing by a moment before
	if n := d.TakeOver(); n != 1 || !slices.Equal(d.stamped, []string{"A 2", "C 2", "B 1"}) {
		t.Errorf("%d: %q", n, d.stamped)
	}
	d.own("B", "2")
	d.tick("A", "3")
	if n := d.TakeOver(); n != 0 || !slices.Equal(d.stamped, []string{"A 2", "C 2", "B 1", "B 2"}) {
		t.Errorf("%d: %q", n, d.stamped)
	}
	d.leads, d.stamped = false, nil
	d.price("A", "4")
	d.takesOver(t, "A 4")
}

func TestStampAllocatesNothing(t *testing.T) {
	h := New(keep, 1, func() bool { return true })
	n := 0
	if got := testing.AllocsPerRun(100, func() { h.Stamp("A", func() { n++ }) }); got != 0 {
		t.Errorf("%v allocations", got)
	}
}
