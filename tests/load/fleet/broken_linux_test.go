package fleet

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/tick"
	"github.com/tickfan/tickfan/tests/load/oracle"
)

// oneIn is how rarely a broken server does wrong: one tick in so many, of a connection.
const oneIn = 1000

const patience = time.Minute

// Of a test's run: each socket has 2 of 3 symbols, and so gets 1,200 ticks.
const (
	testSockets = 12
	testSymbols = 3
	testEach    = 2
	testNumbers = 600
)

// The faults hit a tick in the middle of a run, never a symbol's last one.
func dropping(s *server) fault {
	return func(c *client, t tick.Tick) []tick.Tick {
		if c.sent%oneIn == oneIn/2 {
			s.wrongs++
			return nil
		}
		return []tick.Tick{t}
	}
}

func repeating(s *server) fault {
	return func(c *client, t tick.Tick) []tick.Tick {
		if c.sent%oneIn == oneIn/2 {
			s.wrongs++
			return []tick.Tick{t, t}
		}
		return []tick.Tick{t}
	}
}

// swapping holds a tick until the next one of its symbol.
func swapping(s *server) fault {
	return func(c *client, t tick.Tick) []tick.Tick {
		switch {
		case c.sent%oneIn == oneIn/2:
			s.wrongs++
			c.held = &t
			return nil
		case c.held != nil && c.held.Symbol == t.Symbol:
			before := *c.held
			c.held = nil
			return []tick.Tick{t, before}
		}
		return []tick.Tick{t}
	}
}

// telling drops a tick and says so, as an edge may in mode every.
func telling(s *server) fault {
	return func(c *client, t tick.Tick) []tick.Tick {
		if c.sent%oneIn == oneIn/2 {
			s.wrongs++
			s.say(c, &session.Message{Op: session.OpGap, Symbol: t.Symbol, Epoch: t.Epoch, From: t.Seq, To: t.Seq})
			return nil
		}
		return []tick.Tick{t}
	}
}

// renumbering sends the right prices in the right order, one of them with the position of the one before.
func renumbering(s *server) fault {
	return func(c *client, t tick.Tick) []tick.Tick {
		if c.sent%oneIn == oneIn/2 {
			s.wrongs++
			t.Seq--
		}
		return []tick.Tick{t}
	}
}

// straying sends one tick to a client that has not asked for its symbol.
func straying(s *server) fault {
	return func(c *client, t tick.Tick) []tick.Tick {
		if c.sent%oneIn == oneIn/2 {
			s.wrongs++
			stray := t
			stray.Symbol = "L99-USD"
			return []tick.Tick{t, stray}
		}
		return []tick.Tick{t}
	}
}

// ending leaves out the last tick of each symbol.
func ending(s *server) fault {
	return func(c *client, t tick.Tick) []tick.Tick {
		if t.Seq == testNumbers+100 {
			s.wrongs++
			return nil
		}
		return []tick.Tick{t}
	}
}

// TestBrokenServers is the oracle's own proof: each fault of a server is seen, as often as it was done, and by its name,
// and of a right one nothing is said.
func TestBrokenServers(t *testing.T) {
	for _, c := range []struct {
		name  string
		mode  string
		fault func(*server) fault
		want  func(c *oracle.Counts) *int64 // what counts it; nil: no fault
		named string
	}{
		{name: "right", mode: "latest"},
		{name: "right", mode: "every"},
		{name: "drops", mode: "every", fault: dropping, want: func(c *oracle.Counts) *int64 { return &c.Lost }, named: "lost: L"},
		{name: "repeats", mode: "every", fault: repeating, want: func(c *oracle.Counts) *int64 { return &c.Doubled }, named: "doubled: L"},
		{name: "repeats", mode: "latest", fault: repeating, want: func(c *oracle.Counts) *int64 { return &c.Repeated }, named: "repeated: L"},
		{name: "swaps", mode: "every", fault: swapping, want: func(c *oracle.Counts) *int64 { return &c.Backwards }, named: "backwards: L"},
		{name: "swaps", mode: "latest", fault: swapping, want: func(c *oracle.Counts) *int64 { return &c.Backwards }, named: "backwards: L"},
		{name: "renumbers", mode: "latest", fault: renumbering, want: func(c *oracle.Counts) *int64 { return &c.Misplaced }, named: "misplaced: L"},
		{name: "strays", mode: "latest", fault: straying, want: func(c *oracle.Counts) *int64 { return &c.Foreign }, named: "foreign: L99-USD"},
		{name: "tells", mode: "every", fault: telling},
		{name: "tells", mode: "latest", fault: telling, want: func(c *oracle.Counts) *int64 { return &c.Mistold }, named: "mistold: gap of L"},
	} {
		for _, d := range []Dialect{JSON, MessagePack, Compact} {
			t.Run(fmt.Sprintf("%s/mode=%s/%s", c.name, c.mode, d), func(t *testing.T) {
				s, v, r := against(t, d, c.mode, c.fault)
				if v.Right != testSockets || v.Behind != 0 || v.Closed != 0 {
					t.Errorf("%s", v)
				}
				if r.Counts != v.Faults {
					t.Errorf("in the window %+v\nin all %+v", r.Counts, v.Faults)
				}
				if c.fault != nil && s.wrongs < testSockets {
					t.Fatalf("the server did wrong %d times", s.wrongs)
				}
				if c.want == nil {
					if !v.OK() || len(v.Examples) != 0 {
						t.Errorf("%s", v)
					}
					return
				}
				got := v.Faults
				if n := *c.want(&got); n != int64(s.wrongs) || got.Faults() != n || v.OK() {
					t.Errorf("the server did wrong %d times: %s", s.wrongs, v)
				}
				if !slices.ContainsFunc(v.Examples, func(e string) bool { return strings.Contains(e, c.named) }) {
					t.Errorf("not named %q: %q", c.named, v.Examples)
				}
			})
		}
	}
}

// against plays a run of prices through a server, broken or not, and waits for the verdict.
func against(t *testing.T, d Dialect, mode string, wrong func(*server) fault) (*server, oracle.Verdict, Report) {
	t.Helper()
	s := serve(t, nil)
	for symbol := range testSymbols {
		s.publish(symbol, 1)
	}
	if wrong != nil {
		s.fault = wrong(s)
	}
	f := Start(t, 1)
	plan := Plan{Name: "all", Targets: []string{s.address}, Sockets: testSockets, Dialect: d, Symbols: testSymbols, Each: testEach, Mode: mode}
	if c := f.Connect(plan); c.Ready != testSockets {
		t.Fatalf("%+v", c)
	}
	finals := make([]uint64, testSymbols)
	for n := uint64(2); n <= testNumbers; n++ {
		for symbol := range finals {
			s.publish(symbol, n)
			finals[symbol] = n
		}
	}
	v := f.Await("all", finals, patience)
	return s, v, f.Report()["all"]
}

func TestOlderEnd(t *testing.T) {
	s := serve(t, nil)
	s.fault = ending(s)
	f := Start(t, 1)
	if c := f.Connect(Plan{Name: "all", Targets: []string{s.address}, Sockets: testSockets, Dialect: JSON, Symbols: 1, Each: 1}); c.Ready != testSockets {
		t.Fatalf("%+v", c)
	}
	for n := uint64(1); n <= testNumbers; n++ {
		s.publish(0, n)
	}
	if v := f.Await("all", []uint64{testNumbers - 1}, patience); !v.OK() {
		t.Fatalf("what was sent has not come: %s", v)
	}
	if v := f.Await("all", []uint64{testNumbers - 2}, 0); v.Behind != testSockets {
		t.Errorf("a newer end than the newest published is right: %s", v)
	}
	v := f.Await("all", []uint64{testNumbers}, 0)
	if v.OK() || v.Behind != testSockets || v.Right != 0 || v.Faults.Faults() != 0 {
		t.Errorf("%s", v)
	}
	if want := fmt.Sprintf("L0-USD ends on %d, the newest is %d", testNumbers-1, testNumbers); !strings.Contains(v.String(), want) {
		t.Errorf("not told: %s", v)
	}
}
