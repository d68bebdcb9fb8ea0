//go:build linux

package sim

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tickfan/tickfan/tests/load/measure"
	"github.com/tickfan/tickfan/tests/load/report"
)

// results are all that was measured.
type results struct {
	Most        int             `json:"most"`             // buckets
	Failed      []string        `json:"failed,omitempty"` // steps that did not end
	Began       time.Time       `json:"began"`
	Machine     measure.Machine `json:"machine"`
	Rhythm      string          `json:"rhythm"`
	TicksABatch float64         `json:"ticks_a_batch"` // over the whole rhythm, to a bucket that wants all
	Market      *market         `json:"-"`
	rhythm      *rhythm
	edge        edgeCosts
	Steps       []step `json:"steps"`
}

// step is what was measured with so many buckets.
type step struct {
	Name    string     `json:"name"`
	Regions []standing `json:"regions"`
	Runs    []run      `json:"runs"`
	Steady  phase      `json:"steady"`
	Storm   phase      `json:"storm"`
	Took    float64    `json:"seconds"`
}

// standing is a region with all its clients. Times are in seconds.
type standing struct {
	Name    string  `json:"name"`
	Buckets int     `json:"buckets"`
	Edges   int     `json:"edges"`
	Wishes  int     `json:"wishes"`   // pairs of bucket and symbol
	Keys    uint64  `json:"kv_keys"`  // of INTEREST
	Bytes   uint64  `json:"kv_bytes"` // that they take
	Joined  float64 `json:"joined"`   // until all interest stands and is served, all edges having come at once
	Join    sample  `json:"join"`

	RouterMemory   int64 `json:"router_memory"`
	RegistryMemory int64 `json:"registry_memory"`
	ServerMemory   int64 `json:"server_memory"`

	RouterReady      float64 `json:"router_ready"`  // from its start
	RouterServes     float64 `json:"router_serves"` // until each bucket has heard of it
	RouterReadyCPU   float64 `json:"router_ready_cpu"`
	RegistryReady    float64 `json:"registry_ready"`
	RegistryReadyCPU float64 `json:"registry_ready_cpu"`

	LostMade   float64 `json:"lost_made"`   // from the deletion of KV until the first key stands again
	LostKV     float64 `json:"lost_kv"`     // all
	LostServed float64 `json:"lost_served"` // and is served
	LostWrites uint64  `json:"lost_writes"`
	LostDark   float64 `json:"lost_dark"` // how long the router served fewer than 99 of 100 wishes
}

// run is a window of ticks, by region.
type run struct {
	load
	Buckets int           `json:"buckets"`
	Late    time.Duration `json:"late_ns"` // ticks, in the mean
	Samples []sample      `json:"samples"`
}

// phase is a window in which the crowd moved, by region.
type phase struct {
	Each    float64  `json:"each,omitempty"` // seconds in which a client changed a symbol
	Clients int      `json:"clients"`        // that moved
	Moved   float64  `json:"moved"`          // seconds until the last of them had
	Served  float64  `json:"served"`         // until all that they want was
	Settled float64  `json:"settled"`        // until nothing lingered either; of a steady crowd from its end on; less than 0: too long
	Peak    float64  `json:"peak"`           // writes a second
	Symbols int64    `json:"symbols"`        // that buckets asked for
	P50     float64  `json:"p50"`            // how long these waited to be served, milliseconds
	P99     float64  `json:"p99"`
	Samples []sample `json:"samples"`
}

// minutely is how many writes a second a steady crowd would make if each client changed a symbol a minute: what lingers
// and comes back is too little to make it another share.
func (p *phase) minutely(samples []sample) float64 {
	a := sum(samples)
	return a.rate(writes) * p.Each / 60
}

// MarshalJSON names the figures.
func (s sample) MarshalJSON() ([]byte, error) { return json.Marshal(s.named()) }

// named says what the load was.
func (l load) named() string {
	if l.Rate == 0 {
		return "no ticks"
	}
	return fmt.Sprintf("%.0f/s, k=%.0f, copies %d", l.Rate, l.K, l.Copies)
}

// sum is all regions' figures; times and the machine's are those of the first.
func sum(samples []sample) (all sample) {
	for _, s := range samples {
		for f := range all {
			all[f] += s[f]
		}
	}
	if len(samples) > 0 {
		for _, f := range []figure{ticks, homeCPU, idleCPU, seconds} {
			all[f] = samples[0][f]
		}
	}
	return all
}

func (r *results) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	p, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "latest.json"), append(p, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "latest.md"), []byte(r.markdown()), 0o644)
}

func (r *results) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Simulation\n\n`make sim`, at most %d buckets, %s\n\n- CPU: %s, %d cores, which all processes and the simulated edges share\n- memory: %.1f GB\n- kernel: %s\n- Go: %s\n- commit: %s\n- load average before: %s\n",
		r.Most, r.Began.UTC().Format(time.DateOnly), r.Machine.CPU, r.Machine.Cores, float64(r.Machine.Memory)/1e9, r.Machine.Kernel, r.Machine.Go, r.Machine.Commit, r.Machine.Busy)
	fmt.Fprintf(&b, "- clients: %d a bucket, %d buckets an edge; each wants %d of %d symbols, drawn by Zipf %.1f; symbols tick by the same law\n", clients, bucketsOfEdge, eachClient, marketSymbols, zipf)
	fmt.Fprintf(&b, "- ticks: %s, sped up to %.0f a second: %.1f ticks a batch at a flush window of %s\n", r.Rhythm, marketRate, r.TicksABatch, window)
	if len(r.Failed) > 0 {
		fmt.Fprintf(&b, "\n**Did not end, and is missing here: %s.**\n", strings.Join(r.Failed, ", "))
	}
	if idle := r.idle(); idle < 0.1 {
		fmt.Fprintf(&b, "\n**The machine was idle for %s only, in the mean of the loads: something else ran beside, or it was too slow for them.** CPU is too high then, and all that takes time takes too long.\n", pct(idle))
	}
	b.WriteString("\nTime is stretched by k: ticks come k times slower and the flush window is k times longer. \"x k\" is what it would be in real time.\n")
	c := r.fit()
	r.reach(&b, c)
	r.standings(&b)
	r.ticks(&b, c)
	r.grows(&b, c)
	r.crowds(&b)
	r.deaths(&b)
	if r.rhythm != nil {
		r.outlook(&b)
		r.need(&b, c, r.edge)
	}
	return b.String()
}

// idle is the machine's share, in the mean of all loads.
func (r *results) idle() float64 {
	idle, n := 0.0, 0.0
	for _, s := range r.Steps {
		for _, run := range s.Runs {
			idle += run.Samples[0].rate(idleCPU) / float64(r.Machine.Cores)
			n++
		}
	}
	return idle / max(1, n)
}

func (r *results) standings(b *strings.Builder) {
	var rows [][]string
	for _, s := range r.Steps {
		for _, g := range s.Regions {
			n := float64(g.Buckets)
			rows = append(rows, []string{s.Name, g.Name, num(n), num(n * clients), num(float64(g.Edges)), f1(float64(g.Wishes) / n), f1(float64(g.Keys) / n),
				f1(float64(g.Bytes) / n / 1e3), f1(float64(g.Bytes) / 1e6), f1(g.Joined), num(g.Join.rate(writes)),
				mb(g.RouterMemory), mb(g.RegistryMemory), mb(g.ServerMemory)})
		}
	}
	b.WriteString("\n## What stands\n\n")
	report.Table(b, []string{"step", "region", "buckets", "clients", "edges", "symbols a bucket", "KV keys a bucket", "KB a bucket", "MB in KV",
		"all joined at once, served after s", "KV writes/s", "router MB", "registry MB", "nats-server MB"}, rows)
}

func (r *results) ticks(b *strings.Builder, c *costs) {
	var rows, into, links [][]string
	for _, s := range r.Steps {
		for _, run := range s.Runs {
			for i, a := range run.Samples {
				name := s.Regions[i].Name
				k := run.K
				buckets := float64(s.Regions[i].Buckets)
				if run.Buckets == 0 {
					buckets = 0
				}
				rows = append(rows, []string{s.Name, name, run.named(), num(a.rate(ticks) * k), num(a.allItems() / a[seconds] * k), num(a.rate(batches) * k),
					f2(a.allItems() / a[batches]), pct(a.rate(routerCPU)), f2(inRealTime(a.rate(routerCPU), k, c.idle(c.router, buckets))), f2(1e6 * a[routerCPU] / a[ticks]),
					f2(1e6 * a[routerCPU] / a[batches]), f3(1e6 * a[routerCPU] / a.allItems()), pct(a.rate(natsCPU)), f2(inRealTime(a.rate(natsCPU), k, c.idle(c.nats, buckets))),
					pct(a.rate(idleCPU) / float64(r.Machine.Cores)), f2(run.Late.Seconds() * 1e3), num(a[holes])})
				if run.Rate == 0 || buckets == 0 {
					continue
				}
				if a[linkMessages] > 0 {
					links = append(links, []string{s.Name, name, run.named(), f2(a[linkMessages] / a[ticks]), num(a[linkBytes] / a[ticks]), f2(a.rate(homeCPU)), num(a[linkBytes] / a[ticks] * marketRate * 8 / 1e3)})
				}
				edges := float64(s.Regions[i].Edges)
				into = append(into, []string{s.Name, name, run.named(), num(a.rate(messages) / edges * k), f2(a.rate(bytes) / edges * k / 1e6),
					f1(a[bytes] / a.allItems()), pct3(a[itemsWanted] / a.items()), pct3(a[itemsLingering] / a.items()), pct3(a[itemsUseless] / a.items()),
					pct3(a.useful()), pct(a[itemsDoubled] / a.items()), pct(a.items() / a[ticks] / buckets)})
			}
		}
	}
	b.WriteString("\n## Ticks through a router\n\n")
	report.Table(b, []string{"step", "region", "load", "ticks/s x k", "items/s x k", "batches/s x k", "items a batch", "router CPU", "cores in real time", "us a tick", "us a batch", "us an item",
		"nats-server CPU", "cores in real time", "machine idle", "ticks late ms", "batches lost"}, rows)
	b.WriteString("\nAn item is a tick to one bucket. CPU is of one core. Cores in real time: the CPU without what a second costs by itself (see below), x k, and that again. The first load of the first step is without any bucket.\n")
	if len(links) > 0 {
		b.WriteString("\n## The link from home to each region\n\n")
		report.Table(b, []string{"step", "region", "load", "messages a tick", "bytes a tick", "home's nats-server CPU", "Kbit/s at the market's rate"}, links)
		b.WriteString("\nBy the counters of home's server: one message for the router, one for the mirror of TICKS, which has headers; beats, which are not stretched, count in.\n")
	}
	b.WriteString("\n## Into each edge\n\n")
	report.Table(b, []string{"step", "region", "load", "NATS messages/s x k", "MB/s x k", "bytes an item", "wanted", "lingering", "useless", "useful", "second copies beside", "items of ticks x buckets"}, into)
	b.WriteString("\nWith all clients sitting still; what their moving does to the useful share stands below. Bytes are payloads; NATS adds the subject and some 20 bytes a message. ")
	fmt.Fprintf(b, "An edge that subscribed to all ticks, once for all its buckets, would get %.0f messages and %.2f MB a second.\n", marketRate, marketRate*float64(len(aTick("SIM0000-USD", 1000)))/1e6)
}

// What a tick, an item, a batch, a bucket in a second, and a second cost: columns of costs.
const (
	oneTick = iota
	oneItem
	oneBatch
	oneBucket
	second
)

// costs are CPU seconds of a router and of its nats-server, fitted to runs.
type costs struct {
	router, nats []float64
	runs         []costed
}

// costed is a run by which costs were fitted.
type costed struct {
	name         string
	x            []float64 // ticks, items, batches in a second; buckets; 1
	router, nats float64
}

// idle is what a second costs by itself.
func (c *costs) idle(factors []float64, buckets float64) float64 {
	return factors[second] + buckets*factors[oneBucket]
}

// inRealTime is what a CPU share would be without stretching.
func inRealTime(share, k, second float64) float64 { return max(0, share-second)*k + second }

func (r *results) fit() *costs {
	c := &costs{}
	var x [][]float64
	var router, nats []float64
	for _, s := range r.Steps {
		for _, run := range s.Runs {
			if run.Copies > 1 || len(run.Samples) > 1 {
				continue
			}
			a := sum(run.Samples)
			one := costed{num(float64(run.Buckets)) + " buckets, " + run.named(), []float64{a.rate(ticks), a.allItems() / a[seconds], a.rate(batches), float64(run.Buckets), 1}, a.rate(routerCPU), a.rate(natsCPU)}
			c.runs = append(c.runs, one)
			x, router, nats = append(x, one.x), append(router, one.router), append(nats, one.nats)
		}
	}
	if len(x) == 0 { // regions alone
		c.router, c.nats = make([]float64, second+1), make([]float64, second+1)
		return c
	}
	c.router, c.nats = fit(x, router), fit(x, nats)
	return c
}

// of is what they come to.
func of(factors, x []float64) (y float64) {
	for i := range x {
		y += factors[i] * x[i]
	}
	return y
}

func (r *results) grows(b *strings.Builder, c *costs) {
	b.WriteString("\n## What it grows with\n\n")
	var rows [][]string
	for _, p := range []struct {
		name string
		f    []float64
	}{{"router", c.router}, {"nats-server", c.nats}} {
		rows = append(rows, []string{p.name, f2(1e6 * p.f[oneTick]), f3(1e6 * p.f[oneItem]), f2(1e6 * p.f[oneBatch]), f1(1e6 * p.f[oneBucket]), f1(1e3 * p.f[second])})
	}
	report.Table(b, []string{"CPU of", "us a tick", "us an item", "us a batch", "us a bucket and second", "ms a second"}, rows)
	b.WriteString("\nFitted to these runs, least squares of the relative errors, none below 0:\n\n")
	rows = nil
	for _, r := range c.runs {
		rows = append(rows, []string{r.name, pct(r.router), pct(of(c.router, r.x)), f2(r.router / of(c.router, r.x)), pct(r.nats), pct(of(c.nats, r.x)), f2(r.nats / of(c.nats, r.x))})
	}
	report.Table(b, []string{"run", "router CPU", "fitted", "ratio", "nats-server CPU", "fitted", "ratio"}, rows)
	rows = nil
	for _, s := range r.Steps {
		if len(s.Regions) > 1 {
			continue
		}
		a, k := atMarket(&s)
		x := []float64{marketRate, a.allItems() / a[seconds] * k, a.rate(batches) * k, float64(s.Regions[0].Buckets), 1}
		rows = append(rows, []string{num(float64(s.Regions[0].Buckets)), num(x[oneItem]), num(x[oneBatch]), f2(of(c.router, x)), f2(of(c.nats, x)), f2(a.rate(bytes) * k / 1e6 * 8 / 1e3)})
	}
	fmt.Fprintf(b, "\nWith these costs, %.0f ticks a second in real time, of one router and one nats-server without replicas (more than one core's is not for one router: it has one loop):\n\n", marketRate)
	report.Table(b, []string{"buckets", "items/s", "batches/s", "router cores", "nats-server cores", "Gbit/s to the edges"}, rows)
	r.stretch(b)
	r.powers(b, c)
}

// atMarket is the run at the market's rate that was stretched least.
func atMarket(s *step) (a sample, k float64) {
	for _, run := range s.Runs {
		if run.Rate == marketRate && run.Copies == 1 && run.Buckets > 0 && (k == 0 || run.K < k) {
			a, k = sum(run.Samples), run.K
		}
	}
	return a, k
}

// stretch compares the same load at different k.
func (r *results) stretch(b *strings.Builder) {
	var rows [][]string
	for _, s := range r.Steps {
		alike := map[load][]run{}
		for _, x := range s.Runs {
			if x.Buckets > 0 && x.Rate > 0 && len(x.Samples) == 1 {
				same := load{Rate: x.Rate, Copies: x.Copies}
				alike[same] = append(alike[same], x)
			}
		}
		for _, runs := range alike {
			if len(runs) < 2 {
				continue
			}
			for _, x := range runs {
				a := sum(x.Samples)
				rows = append(rows, []string{s.Name, x.named(), f2(a.allItems() / a[batches]), f3(1e6 * a[routerCPU] / a.allItems()), f2(1e6 * a[routerCPU] / a[batches]),
					f3(1e6 * a[natsCPU] / a.allItems()), f2(1e6 * a[natsCPU] / a[batches])})
			}
		}
	}
	if len(rows) == 0 {
		return
	}
	b.WriteString("\nIs stretching honest? The same load at different k, all CPU by item and by batch:\n\n")
	report.Table(b, []string{"step", "load", "items a batch", "router us an item", "us a batch", "nats-server us an item", "us a batch"}, rows)
	b.WriteString("\nWhat a second costs by itself is in it. Stretched, a tick comes alone and pays for waking whoever sleeps, where in real time several share that: the more k and the fewer buckets, the dearer. So CPU that was stretched is an upper bound.\n")
}

// powers tells with which power of the buckets things grow.
func (r *results) powers(b *strings.Builder, c *costs) {
	var one []step
	for _, s := range r.Steps {
		if len(s.Regions) == 1 {
			one = append(one, s)
		}
	}
	if len(one) < 2 {
		return
	}
	power := func(of func(s *step) float64) string {
		var x, y []float64
		for i := range one {
			if v := of(&one[i]); v > 0 {
				x, y = append(x, math.Log(float64(one[i].Regions[0].Buckets))), append(y, math.Log(v))
			}
		}
		return f2(slope(x, y))
	}
	rows := [][]string{
		{"KV keys", power(func(s *step) float64 { return float64(s.Regions[0].Keys) })},
		{"KV bytes", power(func(s *step) float64 { return float64(s.Regions[0].Bytes) })},
		{"batches a second", power(func(s *step) float64 { a, k := atMarket(s); return a.rate(batches) * k })},
		{"items a second", power(func(s *step) float64 { a, k := atMarket(s); return a.allItems() / a[seconds] * k })},
		{"items a batch", power(func(s *step) float64 { a, _ := atMarket(s); return a.allItems() / a[batches] })},
		{"router CPU at the market's rate", power(func(s *step) float64 {
			a, k := atMarket(s)
			return inRealTime(a.rate(routerCPU), k, c.idle(c.router, float64(s.Regions[0].Buckets)))
		})},
		{"bytes into each edge", power(func(s *step) float64 {
			a, k := atMarket(s)
			return a.rate(bytes) * k / float64(s.Regions[0].Edges)
		})},
		{"KV writes in a steady crowd", power(func(s *step) float64 { return s.Steady.minutely(s.Steady.Samples) })},
		{"KV writes in a storm", power(func(s *step) float64 { return sum(s.Storm.Samples)[writes] })},
		{"router's start", power(func(s *step) float64 { return s.Regions[0].RouterReady })},
		{"router's CPU of a start", power(func(s *step) float64 { return s.Regions[0].RouterReadyCPU })},
		{"registry's start", power(func(s *step) float64 { return s.Regions[0].RegistryReady })},
		{"router's memory", power(func(s *step) float64 { return float64(s.Regions[0].RouterMemory) })},
	}
	fmt.Fprintf(b, "\nFrom %d to %d buckets, with which power of the buckets (1: in proportion; 0: not at all):\n\n", one[0].Regions[0].Buckets, one[len(one)-1].Regions[0].Buckets)
	report.Table(b, []string{"what", "power"}, rows)
}

func (r *results) crowds(b *strings.Builder) {
	var rows, storms [][]string
	common := func(step, region string, buckets float64, a *sample) []string {
		return []string{step, region, num(a.rate(clientChanges)), f2(1000 * a[writes] / a[clientChanges]), num(a.rate(requests)), num(a.rate(repeats)), num(a.rate(writes)), f2(a.rate(writes) / buckets), num(a.rate(leases)), num(a.rate(newest)),
			pct(a.rate(registryCPU)), pct(a.rate(routerCPU)), pct(a.rate(natsCPU)), pct(a.rate(idleCPU) / float64(r.Machine.Cores)), pct3(a.useful()), pct3(a[itemsLingering] / a.items())}
	}
	head := []string{"step", "region", "wishes changed/s", "KV writes of 1000", "requests/s", "repeated/s", "KV writes/s", "a bucket", "leases/s", "newest asked/s", "registry CPU", "router CPU", "nats-server CPU", "machine idle", "useful", "lingering"}
	for _, s := range r.Steps {
		for i := range s.Steady.Samples {
			g := s.Regions[i]
			rows = append(rows, append(common(s.Name, g.Name, float64(g.Buckets), &s.Steady.Samples[i]), num(s.Steady.Each), f2(s.Steady.minutely(s.Steady.Samples[i:i+1])/float64(g.Buckets))))
		}
		for i := range s.Storm.Samples {
			g := s.Regions[i]
			storms = append(storms, common(s.Name, g.Name, float64(g.Buckets), &s.Storm.Samples[i]))
		}
	}
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## A steady crowd\n\nEach client changes one of its symbols for another now and then: two wishes changed. In real time, with the real flush window and fewer ticks, which changes no share.\n\n")
	report.Table(b, append(slices.Clone(head), "each changes one in s", "KV writes/s a bucket, were it a minute"), rows)
	fmt.Fprintf(b, "\n## A reconnect storm\n\n%.0f %% of all clients leave their bucket and come to another one. Rates are over the whole time until all was settled.\n\n", 100*stormShare)
	report.Table(b, head, storms)
	rows = nil
	for _, s := range r.Steps {
		if s.Storm.Clients == 0 {
			continue
		}
		a := sum(s.Storm.Samples)
		rows = append(rows, []string{s.Name, num(float64(s.Storm.Clients)), f1(s.Storm.Moved), after(s.Storm.Served), after(s.Storm.Settled), num(a[requests]), num(a[writes]), num(s.Storm.Peak),
			num(float64(s.Storm.Symbols)), f1(s.Storm.P50), f1(s.Storm.P99), f1(s.Steady.P50), f1(s.Steady.P99)})
	}
	b.WriteByte('\n')
	report.Table(b, []string{"step", "clients moved", "within s", "all served after s", "settled after s", "requests", "KV writes", "most in a second", "symbols new in a bucket", "served after, p50 ms", "p99 ms", "steady p50 ms", "p99 ms"}, rows)
	fmt.Fprintf(b, "\nA symbol that nobody wants any more lingers %s before the registry hears of it: settled is never sooner.\n", linger)
}

func (r *results) deaths(b *strings.Builder) {
	var rows, lost [][]string
	for _, s := range r.Steps {
		if s.Steady.Samples == nil {
			continue
		}
		g := s.Regions[0]
		rows = append(rows, []string{s.Name, g.Name, f2(g.RouterReady), f2(g.RouterServes), f2(g.RouterReadyCPU), f2(g.RegistryReady), f2(g.RegistryReadyCPU)})
		lost = append(lost, []string{s.Name, g.Name, f1(g.LostMade), f1(g.LostKV), f1(g.LostServed), num(float64(g.LostWrites)), num(float64(g.LostWrites) / max(1, g.LostKV-g.LostMade)), f1(g.LostDark)})
	}
	if len(rows) == 0 {
		return
	}
	b.WriteString("\n## Cold starts, after kill -9\n\n")
	report.Table(b, []string{"step", "region", "router ready s", "each bucket served s", "CPU s until ready", "registry ready s", "CPU s until ready"}, rows)
	b.WriteString("\n## All KV of a region deleted\n\n")
	report.Table(b, []string{"step", "region", "first key again s", "all keys s", "all served s", "writes", "writes/s", "router served less than 99 % for s"}, lost)
}

// after is a time that something took, less than 0 if it took too long.
func after(v float64) string {
	if v < 0 {
		return fmt.Sprintf("> %.0f", settleTime.Seconds())
	}
	return f1(v)
}

func num(v float64) string  { return cell("%.0f", v) }
func f1(v float64) string   { return cell("%.1f", v) }
func f2(v float64) string   { return cell("%.2f", v) }
func f3(v float64) string   { return cell("%.3f", v) }
func pct(v float64) string  { return cell("%.1f %%", 100*v) }
func pct3(v float64) string { return cell("%.3f %%", 100*v) }
func mb(v int64) string     { return f1(float64(v) / 1e6) }

func cell(format string, v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "-"
	}
	return fmt.Sprintf(format, v)
}
