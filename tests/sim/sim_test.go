//go:build linux

package sim

import (
	"context"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/tests/load/measure"
	"github.com/tickfan/tickfan/tests/stack"
)

// plan is what one step does: so many buckets in the home region, or in each of the others, and then one thing after the
// other.
type plan struct {
	name    string
	buckets int
	away    []string
	empty   bool // measures ticks that no bucket wants, first
	loads   []load
	thin    float64       // ticks a second while the crowd moves: the flush window is not stretched then
	lives   bool          // has the crowd move, and processes and KV die
	each    time.Duration // in which a client of a steady crowd changes a symbol
	storm   time.Duration // in which the clients of a storm move
}

// load is ticks: Rate a second, K times slower, with the flush window stretched alike; so many routers serve each bucket.
type load struct {
	Rate   float64 `json:"rate"`
	K      float64 `json:"k"`
	Copies int     `json:"copies"`
}

// times are how long each thing lasts.
type times struct{ warm, window, quiet, steady time.Duration }

const (
	kvConfirm  = 30 * time.Second // how often registry and router read all of KV anew: a part of what a bucket costs by itself
	stormShare = 0.1              // of all clients
)

var atSea = []string{"eu", "us", "ap"}

// full is what results are made of: up to most buckets. k is such that items stay some 60,000 a second, which is what two
// cores take that router, nats-server and simulated edges share.
func full(most int) ([]plan, times) {
	n := float64(most)
	// Registry, KV, router and the crowd itself share two cores.
	each, storm := max(time.Minute, time.Duration(n*0.24*float64(time.Second))), max(10*time.Second, time.Duration(n*0.06*float64(time.Second)))
	return []plan{
		{name: "10 buckets", buckets: 10, empty: true, thin: 500, lives: true, each: time.Minute, storm: 10 * time.Second,
			loads: []load{{5000, 1, 1}, {5000, 8, 1}, {1000, 1, 1}, {1000, 8, 1}}},
		{name: "100 buckets", buckets: 100, thin: 100, lives: true, each: time.Minute, storm: 10 * time.Second,
			loads: []load{{5000, 8, 1}, {5000, 32, 1}, {1000, 4, 1}, {5000, 16, 2}}},
		{name: fmt.Sprintf("%d buckets", most), buckets: most, thin: 10_000 / n, lives: true, each: each, storm: storm,
			loads: []load{{5000, math.Ceil(0.064 * n), 1}, {1000, math.Ceil(0.032 * n), 1}}},
		{name: "3 regions", buckets: (most + len(atSea) - 1) / len(atSea), away: atSea, thin: 10_000 / n, lives: true, each: each, storm: storm,
			loads: []load{{5000, math.Ceil(0.096 * n), 1}}},
	}, times{warm: 2 * time.Second, window: 15 * time.Second, quiet: kvConfirm, steady: 10 * time.Second}
}

func short() ([]plan, times) {
	return []plan{
		{name: "10 buckets", buckets: 10, empty: true, thin: 500, lives: true, each: time.Minute, storm: time.Second, loads: []load{{5000, 1, 1}, {5000, 8, 1}, {5000, 8, 2}}},
		{name: "3 regions", buckets: 3, away: atSea, loads: []load{{5000, 8, 1}}},
	}, times{warm: 300 * time.Millisecond, window: 2 * time.Second, quiet: 2 * time.Second, steady: time.Second}
}

// TestSim goes up in buckets, and prints what each step cost.
func TestSim(t *testing.T) {
	var plans []plan
	var lasts times
	switch *simFlag {
	case "":
		t.Skip("simulates nobody without -sim; see make sim")
	case "full":
		plans, lasts = full(*bucketsFlag)
	case "short":
		plans, lasts = short()
	default:
		t.Fatalf("-sim=%s: full or short", *simFlag)
	}
	machine, err := measure.Describe(".")
	if err != nil {
		t.Fatal(err)
	}
	rhythm, err := readRhythm(os.Getenv("FEEDS"))
	if err != nil {
		t.Fatal(err)
	}
	edge, err := readEdgeCosts("../load/results/latest.json")
	if err != nil {
		t.Fatal(err)
	}
	programs, err := stack.Build()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(programs.Remove)
	r := &results{Began: time.Now(), Most: *bucketsFlag, Machine: machine, Rhythm: rhythm.source, TicksABatch: ticksABatch(rhythm.times), Market: newMarket(), rhythm: rhythm, edge: edge}
	for _, p := range plans {
		if *onlyFlag != "" && *onlyFlag != p.name {
			continue
		}
		if !t.Run(strings.ReplaceAll(p.name, " ", "-"), func(t *testing.T) {
			s := &simulation{world: newWorld(t, programs, r.Market, p.away...), plan: p, lasts: lasts, rhythm: rhythm}
			s.run()
			r.Steps = append(r.Steps, s.step)
		}) {
			r.Failed = append(r.Failed, p.name)
		}
	}
	t.Log("\n" + r.markdown())
	if *simFlag == "full" && *onlyFlag == "" {
		if err := r.write("results"); err != nil {
			t.Error(err)
		}
	}
}

// simulation is one step under way.
type simulation struct {
	*world
	plan   plan
	lasts  times
	rhythm *rhythm
	step   step
}

func (s *simulation) run() {
	began := time.Now()
	defer s.disconnect()
	s.step = step{Name: s.plan.name}
	log := func(what string, v any) {
		s.t.Logf("%s, %.0f s: %s: %+v", s.plan.name, time.Since(began).Seconds(), what, v)
	}
	if s.plan.empty {
		s.step.Runs = append(s.step.Runs, s.load(load{Rate: marketRate, K: 1, Copies: 1}))
	}
	for _, r := range s.regions {
		r.route(window, 1)
		r.join(s.plan.buckets)
	}
	s.join()
	log("joined", s.step.Regions)
	s.step.Runs = append(s.step.Runs, s.load(load{K: 1, Copies: 1})) // nothing but empty batches
	for _, l := range s.plan.loads {
		s.step.Runs = append(s.step.Runs, s.load(l))
		log("load", s.step.Runs[len(s.step.Runs)-1])
	}
	for i, r := range s.regions {
		f := &s.step.Regions[i]
		f.RouterMemory, f.RegistryMemory, f.ServerMemory = r.rss(r.Router), r.rss(r.Registry), r.rss(r.Server)
		r.route(window, 1)
	}
	if s.plan.lives {
		s.step.Steady = s.steady()
		log("steady", s.step.Steady)
		s.step.Storm = s.storm()
		log("storm", s.step.Storm)
		s.die()
		log("deaths", s.step.Regions[0])
	}
	s.step.Took = time.Since(began).Seconds()
}

type process interface{ PID() int }

func (r *region) rss(p process) int64 {
	n, err := measure.RSS(p.PID())
	if err != nil {
		r.w.t.Fatal(err)
	}
	return n
}

// join connects all edges at once, which tell the registry all that they want.
func (s *simulation) join() {
	before := s.readAll()
	began := time.Now()
	s.connect()
	s.step.Regions = make([]standing, len(s.regions))
	for i, r := range s.regions {
		r.awaitServed()
		f := &s.step.Regions[i]
		*f = standing{Name: r.Name, Buckets: len(r.crowd.buckets), Edges: len(r.edges), Wishes: r.wishes(), Joined: time.Since(began).Seconds()}
		f.Join = r.read().since(before[i])
		st := r.stream(subject.KVInterest)
		f.Keys, f.Bytes = st.NumSubjects, st.Bytes
	}
}

// load plays ticks for a while, and measures.
func (s *simulation) load(l load) run {
	for _, r := range s.regions {
		r.route(time.Duration(l.K*float64(window)), l.Copies)
		r.counts.takeServed()
	}
	out := run{load: l, Buckets: s.buckets()}
	if l.Rate == 0 {
		before := s.readAll()
		pause(s.lasts.quiet)
		out.Samples = s.since(before)
		return out
	}
	rhythm := s.rhythm.at(l.Rate)
	length := func(d time.Duration) time.Duration { return time.Duration(float64(d) / l.K) }
	s.play(s.t.Context(), rhythm.sample(length(s.lasts.warm)), l.K, s.lasts.warm)
	before := s.readAll()
	out.Late = s.play(s.t.Context(), rhythm.sample(length(s.lasts.window)), l.K, s.lasts.window)
	out.Samples = s.since(before)
	return out
}

func (s *simulation) buckets() (n int) {
	for _, r := range s.regions {
		n += len(r.crowd.buckets)
	}
	return n
}

// play publishes ticks at these times, k times slower, and returns when it has lasted so long, or when ctx ends: by how
// much the ticks were late in the mean.
func (w *world) play(ctx context.Context, times []time.Duration, k float64, lasts time.Duration) (late time.Duration) {
	reply := nats.NewInbox() // nobody hears the answers: they cost the server the same
	began := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	wait := func(until time.Duration) bool {
		if d := until - time.Since(began); d > 0 {
			timer.Reset(d)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return false
			}
		}
		return ctx.Err() == nil
	}
	var sum time.Duration
	for _, t := range times {
		at := time.Duration(float64(t) * k)
		if !wait(at) {
			return 0
		}
		sum += time.Since(began) - at
		w.publish(w.market.draw(w.dice), reply)
	}
	wait(lasts)
	return sum / time.Duration(max(1, len(times)))
}

// playOn publishes thinned ticks until the returned func is called.
func (s *simulation) playOn() (stop func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	var g errgroup.Group
	rhythm := s.rhythm.at(s.plan.thin)
	g.Go(func() error {
		for ctx.Err() == nil {
			s.play(ctx, rhythm.times, 1, 0)
		}
		return nil
	})
	return func() { cancel(); _ = g.Wait() }
}

// every calls do so many times a second until ctx ends, or most times. Where the machine is too slow for it, it does less
// in a second.
func every(ctx context.Context, rate float64, most int, do func(now int64)) {
	const each = 10 * time.Millisecond
	ticker := time.NewTicker(each)
	defer ticker.Stop()
	behind := 0.0
	last := time.Now()
	for done := 0; done < most; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := time.Now()
		behind += min(now.Sub(last), 5*each).Seconds() * rate
		last = now
		for ; behind >= 1 && done < most; behind-- {
			do(clock())
			done++
		}
	}
}

// steady has each client change a symbol now and then.
func (s *simulation) steady() phase {
	stop := s.playOn()
	defer stop()
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	var g errgroup.Group
	for _, r := range s.regions {
		g.Go(func() error {
			every(ctx, clients*float64(len(r.crowd.buckets))/s.plan.each.Seconds(), 1<<62, r.crowd.change)
			return nil
		})
	}
	pause(linger + s.lasts.warm) // until what lingers is let go as fast as it comes
	for _, r := range s.regions {
		r.counts.takeServed()
	}
	before := s.readAll()
	pause(s.lasts.steady)
	p := phase{Each: s.plan.each.Seconds(), Samples: s.since(before)}
	p.take(s.regions)
	cancel()
	_ = g.Wait()
	p.Settled = s.all(time.Now(), (*region).served)
	return p
}

// all waits for something of each region, and gives the seconds since a time; less than 0 when it took too long.
func (s *simulation) all(since time.Time, cond func(*region) bool) float64 {
	for _, r := range s.regions {
		if !within(settleTime, func() bool { return cond(r) }) {
			return -1
		}
	}
	return time.Since(since).Seconds()
}

// storm has a share of all clients leave their bucket and come to another of their region.
func (s *simulation) storm() phase {
	stop := s.playOn()
	defer stop()
	for _, r := range s.regions {
		r.counts.takeServed()
	}
	before := s.readAll()
	began := time.Now()
	p := phase{Clients: int(stormShare * clients * float64(s.buckets()))}
	var g errgroup.Group
	for _, r := range s.regions {
		n := int(stormShare * clients * float64(len(r.crowd.buckets)))
		g.Go(func() error {
			every(s.t.Context(), float64(n)/s.plan.storm.Seconds(), n, r.crowd.move)
			return nil
		})
	}
	peak := s.peakWrites()
	_ = g.Wait()
	p.Moved = time.Since(began).Seconds()
	p.Served = s.all(began, func(r *region) bool { waiting, _ := r.open(); return waiting == 0 })
	p.Settled = s.all(began, (*region).served)
	p.Peak = peak()
	p.Samples = s.since(before)
	p.take(s.regions)
	return p
}

// peakWrites watches how many writes all regions' INTEREST takes in a second, until the returned func is called.
func (s *simulation) peakWrites() func() float64 {
	done, most := make(chan struct{}), make(chan float64)
	go func() {
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		read := func() (n uint64) {
			for _, r := range s.regions {
				n += r.stream(subject.KVInterest).LastSeq
			}
			return n
		}
		top, last, at := 0.0, read(), time.Now()
		for {
			select {
			case <-done:
				most <- top
				return
			case <-ticker.C:
			}
			n, now := read(), time.Now()
			top = max(top, float64(n-last)/now.Sub(at).Seconds())
			last, at = n, now
		}
	}()
	return func() float64 { close(done); return <-most }
}

// take notes how long symbols waited.
func (p *phase) take(regions []*region) {
	all := hdrhistogram.New(1, time.Hour.Microseconds(), 3)
	for _, r := range regions {
		all.Merge(r.counts.takeServed())
	}
	p.Symbols = all.TotalCount()
	if p.Symbols > 0 {
		p.P50, p.P99 = float64(all.ValueAtQuantile(50))/1000, float64(all.ValueAtQuantile(99))/1000
	}
}

// die kills the router and the registry of the first region, and deletes its KV.
func (s *simulation) die() {
	r := s.regions[0]
	f := &s.step.Regions[0]
	heard := r.heard() + len(r.crowd.buckets)
	r.Router.Kill()
	began := time.Now()
	r.Router.Start(strings.Fields(r.flags)...)
	r.Router.AwaitReady()
	f.RouterReady = time.Since(began).Seconds()
	f.RouterReadyCPU = r.cpu(r.Router.PID())
	r.awaitHeard(heard)
	f.RouterServes = time.Since(began).Seconds()

	r.Registry.Kill()
	began = time.Now()
	r.Registry.Start()
	r.Registry.AwaitReady()
	f.RegistryReady = time.Since(began).Seconds()
	f.RegistryReadyCPU = r.cpu(r.Registry.PID())

	wishes := r.wishes()
	for _, store := range []string{subject.KVInterest, subject.KVEdges, subject.KVLeader} {
		if err := r.js.DeleteKeyValue(s.t.Context(), store); err != nil && store != subject.KVLeader { // LEADER is at home alone
			s.t.Fatal(fmt.Errorf("delete KV store %s: %w", store, err))
		}
	}
	began = time.Now()
	last := began
	r.await("all interest stands in KV again and is served", func() bool {
		st := r.stream(subject.KVInterest)
		if f.LostMade == 0 && st.NumSubjects > 0 {
			f.LostMade = time.Since(began).Seconds()
		}
		if f.LostKV == 0 && st.NumSubjects >= f.Keys {
			f.LostKV = time.Since(began).Seconds()
		}
		now := time.Now()
		if r.Router.Metric("tickfan_router_interest_symbols") < 0.99*float64(wishes) {
			f.LostDark += now.Sub(last).Seconds()
		}
		last = now
		_, unsettled := r.open()
		return f.LostKV > 0 && unsettled == 0 && r.serves(wishes)
	})
	f.LostServed = time.Since(began).Seconds()
	f.LostWrites = r.stream(subject.KVInterest).LastSeq
}
