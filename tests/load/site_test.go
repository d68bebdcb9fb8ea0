//go:build linux

package load

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tickfan/tickfan/tests/load/baseline"
	"github.com/tickfan/tickfan/tests/load/fleet"
	"github.com/tickfan/tickfan/tests/load/report"
	"github.com/tickfan/tickfan/tests/stack"
)

// patience is for what must come at once on an idle machine.
const patience = 60 * time.Second

// edge is the name of what is measured; the others are baseline.Kinds.
const edge = "edge"

// load says what one run is.
type load struct {
	scenario string
	server   string // edge, or a kind of baseline
	turn     int    // see report.Run; 0: 1
	detail   string
	flags    []string // more of each edge
	env      []string // more of each service
	edges    int      // 0: 1
	workers  int      // of the fleet; 0: 1
	symbols  int
}

// site is the servers of one run, the clients, and what was published.
//
//	site --ingest.<symbol>--> nats-server, ingest, router, registry --> edges <--> fleet
//	site --payload--> limit, gws or nats-server <--> fleet
type site struct {
	t     *testing.T
	load  load
	fleet *fleet.Fleet

	servers []*stack.Process // under test
	others  []*stack.Process // that they need
	edges   []*stack.Service // nil with a baseline
	base    *baseline.Server // nil with edges
	nc      *nats.Conn

	numbers []uint64 // last published, by symbol
	buf     []byte

	crowds []string
	run    report.Run

	// Of the window.
	began                               map[string]time.Duration
	beganWrites, beganTicks, beganBytes float64
}

// attempt runs f at a fresh site, and once more if not all clients could be connected: such a run says nothing. What f
// measured is kept; it tells whether there is something.
func (b *bench) attempt(l load, f func(*site) bool) bool {
	name := strings.Join(slices.DeleteFunc([]string{l.scenario, strconv.Itoa(b.round), l.server, l.detail}, func(s string) bool { return s == "" }), "/")
	done := false
	for range 2 {
		if b.t.Failed() && b.short {
			return false // it is known by now, and quicker so
		}
		ok := b.t.Run(name, func(t *testing.T) {
			s := b.open(t, l)
			done = f(s)
			s.close()
			if done {
				b.runs = append(b.runs, s.run)
			}
		})
		if !ok {
			b.failed = append(b.failed, name)
		}
		if done || !ok {
			return done
		}
	}
	b.failed = append(b.failed, name)
	b.t.Errorf("%s: not all clients could be connected, twice", name)
	return false
}

func (b *bench) open(t *testing.T, l load) *site {
	l.edges, l.workers = max(l.edges, 1), max(l.workers, 1)
	s := &site{t: t, load: l, numbers: make([]uint64, l.symbols), run: report.Run{
		Scenario: l.scenario, Round: b.round, Turn: max(l.turn, 1), Server: l.server, Detail: l.detail, Symbols: l.symbols,
		CPU: map[string]float64{}, Crowds: map[string]report.Crowd{}, More: map[string]float64{},
	}}
	if l.server == edge {
		st := stack.Start(t, stack.Options{Programs: b.programs, Edges: l.edges, Ingest: []string{"--source", "none"}, Edge: l.flags, Env: l.env})
		s.edges, s.nc = st.Edges, st.Connect()
		s.others = []*stack.Process{st.NATS.Process, st.Registry.Process, st.Ingest.Process, st.Router.Process}
		for _, e := range st.Edges {
			s.servers = append(s.servers, e.Process)
		}
		s.prime()
	} else {
		s.base = baseline.Start(t, baseline.Kind(l.server), b.programs)
		s.servers = []*stack.Process{s.base.Process}
	}
	s.fleet = fleet.Start(t, l.workers)
	s.run.EmptyRSS = s.rss()
	return s
}

// close ends all processes at once; one after the other, as a test's end does it, takes seconds.
func (s *site) close() {
	for _, c := range s.crowds {
		s.fleet.Disconnect(c)
	}
	for _, p := range slices.Concat(s.servers, s.others) {
		if p.Running() {
			p.Kill()
		}
	}
}

// targets are the addresses of the servers under test.
func (s *site) targets() []string {
	if s.base != nil {
		return []string{s.base.Address}
	}
	var all []string
	for _, e := range s.edges {
		all = append(all, e.Address())
	}
	return all
}

// connect connects crowds and tells whether every client of each is ready.
func (s *site) connect(plans ...fleet.Plan) bool {
	cpu := s.cpu(s.servers)
	all := true
	for _, p := range plans {
		p.Symbols = s.load.symbols
		if p.Targets == nil {
			p.Targets = s.targets()
		}
		if p.Dialect == "" {
			p.Dialect = fleet.JSON
		}
		if s.base != nil {
			p.Dialect, p.Mode = s.base.Dialect, "every" // nothing here conflates
			if p.Dialect == fleet.Frames {
				p.Each = s.load.symbols // all is pushed to all
			}
		}
		c := s.fleet.Connect(p)
		s.crowds = append(s.crowds, p.Name)
		s.run.Sockets += p.Sockets
		k := &s.run.Connecting
		k.Asked += c.Asked
		k.Ready += c.Ready
		k.Refused += c.Refused
		k.Failed += c.Failed
		k.Took += c.Took.Seconds()
		if c.Ready < c.Asked {
			s.t.Logf("%d of %d clients ready, %d refused, %d failed: %v", c.Ready, c.Asked, c.Refused, c.Failed, c.Errors)
			all = false
		}
	}
	s.run.Connecting.CPU = sum(since(s.cpu(s.servers), cpu)).Seconds()
	return all
}

// settle waits until the servers' memory has been still for some seconds: the edge gives back what a storm of
// connections left behind some seconds after it.
func (s *site) settle(within time.Duration) {
	still := min(5*time.Second, within/2)
	least, at := s.rss(), time.Now()
	began := at
	every := time.NewTicker(200 * time.Millisecond)
	defer every.Stop()
	for time.Since(at) < still && time.Since(began) < within {
		<-every.C
		if now := s.rss(); now < least-least/200 {
			least, at = now, time.Now()
		}
	}
	s.run.SettledRSS, s.run.SettledInOS = s.rss(), s.kernelMemory()
}
