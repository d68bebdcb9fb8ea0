//go:build linux

package load

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/nats-io/nats.go"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
	"github.com/tickfan/tickfan/tests/load/baseline"
	"github.com/tickfan/tickfan/tests/load/fleet"
	"github.com/tickfan/tickfan/tests/load/measure"
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
	detail   string
	flags    []string // more of each edge
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
	name := fmt.Sprintf("%s/%d/%s", l.scenario, b.round, l.server)
	if l.detail != "" {
		name += "/" + l.detail
	}
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
		if done || !ok {
			return done
		}
	}
	b.t.Errorf("%s: not all clients could be connected, twice", name)
	return false
}

func (b *bench) open(t *testing.T, l load) *site {
	l.edges, l.workers = max(l.edges, 1), max(l.workers, 1)
	s := &site{t: t, load: l, numbers: make([]uint64, l.symbols), run: report.Run{
		Scenario: l.scenario, Round: b.round, Server: l.server, Detail: l.detail, Symbols: l.symbols,
		CPU: map[string]float64{}, Crowds: map[string]report.Crowd{}, More: map[string]float64{},
	}}
	if l.server == edge {
		st := stack.Start(t, stack.Options{Programs: b.programs, Edges: l.edges, Ingest: []string{"--source", "none"}, Edge: l.flags})
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

// window starts measuring.
func (s *site) window() {
	if len(s.edges) > 0 {
		s.beganWrites, s.beganTicks, s.beganBytes = s.metric("writes_total"), s.metric("deliveries_total"), s.metric("written_bytes_total")
	}
	s.fleet.Window()
	s.began = s.cpu(slices.Concat(s.servers, s.others))
}

// finish waits until each crowd has the newest values, and reads what the window was.
func (s *site) finish(within time.Duration) {
	for _, c := range s.crowds {
		s.await(c, within)
	}
	s.collect()
}

// await has a crowd end on the newest value of each symbol, without a fault since it was connected.
func (s *site) await(crowd string, within time.Duration) {
	s.t.Helper()
	if v := s.fleet.Await(crowd, s.numbers, within); !v.OK() {
		s.wrong("crowd %s: %v", crowd, v)
	}
}

// collect reads what the window was.
func (s *site) collect() {
	s.t.Helper()
	cpu := since(s.cpu(slices.Concat(s.servers, s.others)), s.began)
	for name, d := range cpu {
		s.run.CPU[name] = d.Seconds()
	}
	for _, p := range s.servers {
		s.run.ServerCPU += cpu[p.Name()].Seconds()
	}
	if len(s.edges) > 0 {
		s.run.EdgeWrites = s.metric("writes_total") - s.beganWrites
		s.run.EdgeDeliveries = s.metric("deliveries_total") - s.beganTicks
		s.run.EdgeBytes = s.metric("written_bytes_total") - s.beganBytes
	}
	s.run.RSS, s.run.KernelMemory = s.rss(), s.kernelMemory()
	reports := s.fleet.Report()
	latency := hdrhistogram.New(1, time.Hour.Microseconds(), 3)
	for _, name := range slices.Sorted(maps.Keys(reports)) {
		r := reports[name]
		s.run.Deliveries += r.Deliveries
		s.run.Frames += r.Frames
		s.run.Bytes += r.Bytes
		s.run.Reads += r.Reads
		s.run.Skipped += r.Skipped
		s.run.FleetCPU = r.CPU.Seconds()
		if r.Latency != nil {
			latency.Merge(r.Latency)
		}
		if len(reports) > 1 {
			s.run.Crowds[name] = report.Crowd{Sockets: r.Sockets, Deliveries: r.Deliveries, Latency: report.QuantilesOf(r.Latency)}
		}
		if r.Closed > 0 {
			s.wrong("crowd %s: %d sockets closed: %v", name, r.Closed, r.CloseCodes)
		}
		if r.Errors > 0 {
			s.wrong("crowd %s: %d errors told: %v", name, r.Errors, r.Examples)
		}
	}
	s.run.Latency = report.QuantilesOf(latency)
	s.say()
}

// say logs the run in a line, for whoever watches.
func (s *site) say() {
	r := &s.run
	memory := fmt.Sprintf("RSS %.1f, %.1f, %.1f MB", float64(r.EmptyRSS)/1e6, float64(r.SettledRSS)/1e6, float64(r.RSS)/1e6)
	connecting := fmt.Sprintf("%d sockets in %.1f s, CPU %s each", r.Sockets, r.Connecting.Took, microseconds(r.CPUPerConnect()))
	s.t.Logf("%s; %d ticks in %.1f s, %d deliveries, CPU %s each, latency %+v us; %s; clients' CPU %.1f s", connecting, r.Published, r.Window,
		r.Deliveries, microseconds(r.CPUPerDelivery()), r.Latency, memory, r.FleetCPU)
}

// wrong fails the test for what a client was told, and keeps it with the run.
func (s *site) wrong(format string, args ...any) {
	s.t.Helper()
	s.run.Wrong = fmt.Sprintf(format, args...)
	s.t.Error(s.run.Wrong)
}

// cpu is the CPU time of processes so far, by name.
func (s *site) cpu(of []*stack.Process) map[string]time.Duration {
	s.t.Helper()
	all := map[string]time.Duration{}
	for _, p := range of {
		d, err := measure.CPU(p.PID())
		if err != nil {
			s.t.Fatalf("%s: %v", p.Name(), err)
		}
		all[p.Name()] = d
	}
	return all
}

func since(now, before map[string]time.Duration) map[string]time.Duration {
	d := map[string]time.Duration{}
	for name, v := range now {
		d[name] = v - before[name]
	}
	return d
}

func sum(all map[string]time.Duration) (d time.Duration) {
	for _, v := range all {
		d += v
	}
	return d
}

// rss is the resident memory of all servers under test.
func (s *site) rss() (all int64) {
	s.t.Helper()
	for _, p := range s.servers {
		n, err := measure.RSS(p.PID())
		if err != nil {
			s.t.Fatalf("%s: %v", p.Name(), err)
		}
		all += n
	}
	return all
}

// kernelMemory is what the kernel keeps for the servers' side of the connections.
func (s *site) kernelMemory() (all int64) {
	s.t.Helper()
	for _, a := range s.targets() {
		_, text, err := net.SplitHostPort(a)
		if err != nil {
			s.t.Fatal(err)
		}
		port, err := strconv.Atoi(text)
		if err != nil {
			s.t.Fatal(err)
		}
		k, err := measure.Established(port)
		if err != nil {
			s.t.Fatal(err)
		}
		all += k.Bytes
	}
	return all
}

// metric is the sum of one over all edges.
func (s *site) metric(name string) (all float64) {
	s.t.Helper()
	for _, e := range s.edges {
		all += e.Metric("tickfan_edge_" + name)
	}
	return all
}

// prime gives each symbol its first price and waits until every edge can give them: who subscribes now is answered with
// a snapshot.
func (s *site) prime() {
	s.t.Helper()
	if len(s.numbers) == 0 {
		return
	}
	for i := range s.numbers {
		s.publishFirst(i, fleet.Symbol(i), nil)
	}
	s.awaitPrice(fleet.Symbol(len(s.numbers) - 1))
}

// publishFirst publishes a symbol's first price and waits for ingest's word that it is taken; nil: that of now.
func (s *site) publishFirst(i int, symbol string, quote []byte) {
	s.t.Helper()
	s.numbers[i]++
	if quote == nil {
		quote = s.quote(i)
	}
	answer, err := s.nc.Request(subject.Ingest(subject.Symbol(symbol)), quote, patience)
	if err != nil {
		s.t.Fatalf("publish first price of %s: %v", symbol, err)
	}
	if !bytes.HasPrefix(answer.Data, []byte(`{"ok":true`)) {
		s.t.Fatalf("first price of %s: %s", symbol, answer.Data)
	}
}

// awaitPrice waits until every edge can give the symbols' prices.
func (s *site) awaitPrice(symbols ...string) {
	s.t.Helper()
	for _, e := range s.edges {
		for _, symbol := range symbols {
			natstest.Eventually(s.t, patience, func() bool {
				status, _, err := stack.Get(e.URL() + session.PathTicks + symbol)
				return err == nil && status == http.StatusOK
			}, "%s has a price of %s", e.Name(), symbol)
		}
	}
}

// name is a run's symbol.
func name(symbol int) subject.Symbol { return subject.Symbol(fleet.Symbol(symbol)) }

// quote is the symbol's price of now, as a publisher gives it. It is good until the next call.
func (s *site) quote(symbol int) []byte {
	s.buf = fmt.Appendf(s.buf[:0], `{"price":"%s","ts":%d}`, fleet.Price(s.numbers[symbol]), time.Now().UnixMicro())
	return s.buf
}

// payload is what the edge would send for it.
func (s *site) payload(symbol int) []byte {
	price := tick.MustDecimal(fleet.Price(s.numbers[symbol]))
	s.buf = session.AppendTick(session.JSON, s.buf[:0], &tick.Tick{
		Symbol: name(symbol), Position: tick.Position{Epoch: 1763769600, Seq: s.numbers[symbol]},
		Quote: tick.Quote{Price: price, TS: time.Now().UnixMicro()},
	})
	return s.buf
}

// next publishes the symbol's next price.
func (s *site) next(symbol int) {
	s.t.Helper()
	s.numbers[symbol]++
	var err error
	if s.base != nil {
		err = s.base.Publish(fleet.Symbol(symbol), s.payload(symbol))
	} else {
		err = s.nc.Publish(subject.Ingest(name(symbol)), s.quote(symbol))
	}
	if err != nil {
		s.t.Fatalf("publish: %v", err)
	}
}

// publish publishes for some time, the symbols in turn. The clock is steady: a tick that comes too late moves those after
// it, and none is made up for, which would be a burst that nobody asked for.
func (s *site) publish(rate float64, d time.Duration) {
	s.t.Helper()
	step := time.Duration(float64(time.Second) / rate)
	began := time.Now()
	next := began
	timer := time.NewTimer(0)
	defer timer.Stop()
	count := 0
	for next.Sub(began) < d {
		<-timer.C
		s.next(count % len(s.numbers))
		count++
		now := time.Now()
		if next = next.Add(step); next.Before(now) {
			next = now
		}
		timer.Reset(time.Until(next))
	}
	s.run.AskedRate, s.run.Published, s.run.Window = rate, count, time.Since(began).Seconds()
}

// warmUp publishes until everything has run for a while, and waits for those crowds that read all.
func (s *site) warmUp(rate float64, d time.Duration, crowds ...string) {
	s.t.Helper()
	s.publish(rate, d)
	for _, c := range crowds {
		s.await(c, patience)
	}
}
