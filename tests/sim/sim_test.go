//go:build linux

package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
	"github.com/tickfan/tickfan/tests/load/measure"
	"github.com/tickfan/tickfan/tests/stack"
)

const (
	patience = 5 * time.Minute

	// load is how many items a second the routers are given: what one core, beside nats-server and the edges, can take.
	load   = 40_000
	window = 10 * time.Second
)

// bursts are the sizes in which ticks come together, within a router's flush window.
var bursts = []int{1, 4, 16}

// TestSim goes up in buckets, and prints what each step cost.
func TestSim(t *testing.T) {
	if !*simFlag {
		t.Skip("simulates nobody without -sim; see make sim")
	}
	machine, err := measure.Describe(".")
	if err != nil {
		t.Fatal(err)
	}
	programs, err := stack.Build()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(programs.Remove)
	var all []step
	for n := 10; n <= *bucketsFlag; n *= 10 {
		t.Run(fmt.Sprintf("%d", n), func(t *testing.T) { all = append(all, simulate(t, programs, n)) })
	}
	if !t.Failed() {
		t.Logf("%s, %d cores, %s, commit %s\n%s", machine.CPU, machine.Cores, machine.Go, machine.Commit, tables(all))
	}
}

// step is what was measured with so many buckets.
type step struct {
	buckets  int
	wishes   int           // pairs of bucket and symbol
	keys     uint64        // of INTEREST
	bytes    uint64        // that they take
	join     time.Duration // until all interest stands in KV and is served
	lost     time.Duration // the same after all of KV was deleted
	router   time.Duration // from its start to ready
	registry time.Duration
	memory   int64 // of the router
	runs     []run
}

// run is a window of ticks.
type run struct {
	burst                         int
	ticks, items, batches, useful float64 // a second
	bytes                         float64 // a second, into all edges
	router, nats                  float64 // CPU, seconds a second
}

// world is a region without clients.
type world struct {
	t *testing.T
	*stack.Cluster
	market *market
	counts counts
	edges  []*edge
	nc     *nats.Conn
	js     jetstream.JetStream
	dice   *rand.Rand
	seq    map[subject.Symbol]uint64
	count  uint64
}

func simulate(t *testing.T, programs stack.Programs, buckets int) step {
	w := &world{t: t, market: newMarket(), dice: rand.New(rand.NewPCG(1, uint64(buckets))), seq: map[subject.Symbol]uint64{}}
	w.Cluster = stack.StartCluster(t, stack.ClusterOptions{Programs: programs, Servers: 1, Registries: 1, Routers: 1, Ingests: 1})
	w.nc = w.Servers[0].Connect(t)
	var err error
	if w.js, err = jetstream.New(w.nc); err != nil {
		t.Fatal(err)
	}
	for _, s := range w.market.symbols {
		w.publish(s)
	}
	s := step{buckets: buckets}

	began := time.Now()
	for n := 0; n*bucketsOfEdge < buckets; n++ {
		w.edges = append(w.edges, startEdge(t, w.URLs(), n, min(bucketsOfEdge, buckets-n*bucketsOfEdge), w.market, &w.counts))
	}
	var g errgroup.Group
	for _, e := range w.edges {
		for _, b := range e.buckets {
			s.wishes += len(b.wants)
		}
		g.Go(func() error { return e.announce(t.Context()) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	w.served(s.wishes)
	s.join = time.Since(began)
	t.Logf("%d buckets want %d symbols each in the mean; all is served after %s", buckets, s.wishes/buckets, s.join)
	s.keys, s.bytes = w.interest()

	for _, burst := range bursts {
		s.runs = append(s.runs, w.measure(burst))
		t.Logf("%+v", s.runs[len(s.runs)-1])
	}
	if s.memory, err = measure.RSS(w.Routers[0].PID()); err != nil {
		t.Fatal(err)
	}

	restart := func(n *stack.Node) time.Duration {
		n.Kill()
		began := time.Now()
		n.Start()
		n.AwaitReady()
		return time.Since(began)
	}
	s.router = restart(w.Routers[0])
	w.served(s.wishes)
	s.registry = restart(w.Registries[0])

	if err := w.js.DeleteKeyValue(t.Context(), subject.KVInterest); err != nil {
		t.Fatal(err)
	}
	began = time.Now()
	natstest.Eventually(t, patience, func() bool { keys, _ := w.interest(); return keys >= s.keys }, "all interest stands in KV again")
	w.served(s.wishes)
	s.lost = time.Since(began)
	t.Logf("router ready after %s, registry after %s, lost KV back after %s", s.router, s.registry, s.lost)
	for _, e := range w.edges {
		e.end()
	}
	return s
}

// served waits until the router serves all wishes.
func (w *world) served(wishes int) {
	w.t.Helper()
	natstest.Eventually(w.t, patience, func() bool { return int(w.Routers[0].Metric("tickfan_router_interest_symbols")) == wishes }, "the router serves %d wishes", wishes)
}

func (w *world) interest() (keys, bytes uint64) {
	ctx, cancel := context.WithTimeout(w.t.Context(), 5*time.Second)
	defer cancel()
	stream, err := w.js.Stream(ctx, "KV_"+subject.KVInterest)
	if err != nil {
		return 0, 0
	}
	state := stream.CachedInfo().State
	return state.NumSubjects, state.Bytes
}

// publish sends a tick as ingest does.
func (w *world) publish(s subject.Symbol) {
	w.seq[s]++
	w.count++
	price := tick.NewDecimal(w.seq[s]+6412300, 2)
	t := tick.Tick{Symbol: s, Position: tick.Position{Epoch: 1, Seq: w.seq[s]}, At: time.Now().UnixMicro(),
		Quote: tick.Quote{Price: price, Bid: price, Ask: price, Size: tick.NewDecimal(w.seq[s], 4), TS: time.Now().UnixMicro()}}
	if err := w.nc.Publish(subject.Ticks(s), t.Append(nil)); err != nil {
		w.t.Fatal(err)
	}
}

// measure publishes bursts for a while.
func (w *world) measure(burst int) run {
	buckets := 0
	for _, e := range w.edges {
		buckets += len(e.buckets)
	}
	pause := time.Duration(float64(time.Second) * float64(burst) * float64(buckets) / load)
	cpu := func(pid int) time.Duration {
		d, err := measure.CPU(pid)
		if err != nil {
			w.t.Fatal(err)
		}
		return d
	}
	one := func(end time.Time) (n int) {
		for next := time.Now(); next.Before(end); next = next.Add(pause) {
			<-time.After(time.Until(next))
			for range burst {
				w.publish(w.market.draw(w.dice))
				n++
			}
			_ = w.nc.Flush() // a burst leaves at once
		}
		return n
	}
	one(time.Now().Add(time.Second)) // warm
	c := &w.counts
	began := time.Now()
	items, batches, useless, bytes := c.items.Load(), c.batches.Load(), c.useless.Load(), c.bytes.Load()
	router, server := cpu(w.Routers[0].PID()), cpu(w.Servers[0].PID())
	ticks := one(began.Add(window))
	took := time.Since(began).Seconds()
	r := run{burst: burst,
		ticks:   float64(ticks) / took,
		items:   float64(c.items.Load()-items) / took,
		batches: float64(c.batches.Load()-batches) / took,
		bytes:   float64(c.bytes.Load()-bytes) / took,
		router:  (cpu(w.Routers[0].PID()) - router).Seconds() / took,
		nats:    (cpu(w.Servers[0].PID()) - server).Seconds() / took,
	}
	if r.items > 0 {
		r.useful = 1 - float64(c.useless.Load()-useless)/took/r.items
	}
	return r
}

func tables(all []step) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d clients a bucket with %d of %d symbols each, Zipf %.1f\n\n", clients, eachClient, marketSymbols, zipf)
	b.WriteString("| buckets | clients | wishes a bucket | KV keys a bucket | KV bytes a bucket | all served after | router ready | its memory | registry ready | KV lost, back after |\n|---|---|---|---|---|---|---|---|---|---|\n")
	for _, s := range all {
		n := float64(s.buckets)
		fmt.Fprintf(&b, "| %d | %d | %.0f | %.1f | %.0f | %.1f s | %.2f s | %.0f MB | %.2f s | %.1f s |\n", s.buckets, s.buckets*clients, float64(s.wishes)/n,
			float64(s.keys)/n, float64(s.bytes)/n, s.join.Seconds(), s.router.Seconds(), float64(s.memory)/1e6, s.registry.Seconds(), s.lost.Seconds())
	}
	b.WriteString("\n| buckets | burst | ticks/s | items/s | batches/s | ticks a batch | useful | bytes/s an edge | router CPU | an item | nats-server CPU | a batch |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	var x [][]float64
	var y []float64
	for _, s := range all {
		for _, r := range s.runs {
			edges := float64((s.buckets + bucketsOfEdge - 1) / bucketsOfEdge)
			fmt.Fprintf(&b, "| %d | %d | %.0f | %.0f | %.0f | %.2f | %.2f %% | %.0f | %.1f %% | %.2f us | %.1f %% | %.2f us |\n", s.buckets, r.burst, r.ticks, r.items, r.batches,
				r.items/r.batches, 100*r.useful, r.bytes/edges, 100*r.router, 1e6*r.router/r.items, 100*r.nats, 1e6*r.nats/r.batches)
			x = append(x, []float64{r.ticks, r.items, r.batches, 1})
			y = append(y, r.router)
		}
	}
	if len(all) < 2 { // too few to tell one cost from another
		return b.String()
	}
	f := fit(x, y)
	fmt.Fprintf(&b, "\nRouter CPU, fitted: %.2f us a tick + %.3f us an item + %.2f us a batch + %.1f ms a second.\n", 1e6*f[0], 1e6*f[1], 1e6*f[2], 1e3*f[3])
	first, last := all[0], all[len(all)-1]
	x1, x2 := float64(first.buckets), float64(last.buckets)
	fmt.Fprintf(&b, "From %d to %d buckets these grow with the power of buckets: KV keys %.2f, KV bytes %.2f, router's start %.2f.\n", first.buckets, last.buckets,
		slope(x1, float64(first.keys), x2, float64(last.keys)), slope(x1, float64(first.bytes), x2, float64(last.bytes)),
		slope(x1, first.router.Seconds(), x2, last.router.Seconds()))
	return b.String()
}
