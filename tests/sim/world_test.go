//go:build linux

package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
	"github.com/tickfan/tickfan/tests/load/measure"
	"github.com/tickfan/tickfan/tests/stack"
)

const (
	patience = 10 * time.Minute

	// settleTime is how long a crowd may take to be served after it has moved. A registry that cannot keep up is told, and
	// is no reason to stop.
	settleTime = 3 * time.Minute
)

// world is the home region, where ticks come from, and the regions with clients: home itself, or others.
type world struct {
	t       *testing.T
	market  *market
	home    *stack.Region
	monitor string // of home's server, host:port
	regions []*region

	publisher *nats.Conn
	acks      atomic.Int64 // of stream TICKS
	dice      *rand.Rand
	seq       [marketSymbols]uint64
	published atomic.Int64
}

// region is one with clients.
type region struct {
	*stack.Region
	w       *world
	routers []*stack.Service // that run
	second  *stack.Service   // router; nil before it is needed
	flags   string           // that they run with
	js      jetstream.JetStream
	counts  *counts
	crowd   *crowd
	edges   []*edge
}

// newWorld starts the servers and services: the home region alone, or others with so many.
func newWorld(t *testing.T, p stack.Programs, m *market, away ...string) *world {
	w := &world{t: t, market: m, dice: rand.New(rand.NewPCG(1, 5))}
	all := stack.StartRegions(t, p, away...)
	w.home = all[0]
	w.monitor = w.home.Server.Await(`http monitor on (\S+)`)[0]
	for _, r := range all {
		r.Edge.Stop(syscall.SIGTERM) // simulated ones take its place
	}
	if len(away) > 0 {
		all = all[1:]
	}
	for i, r := range all {
		js, err := jetstream.New(r.Connect())
		if err != nil {
			t.Fatal(err)
		}
		w.regions = append(w.regions, &region{Region: r, w: w, js: js, counts: newCounts(), routers: []*stack.Service{r.Router},
			crowd: &crowd{m: m, dice: rand.New(rand.NewPCG(uint64(i), 6))}})
	}
	w.publisher = w.home.Connect()
	inbox := nats.NewInbox()
	if _, err := w.publisher.Subscribe(inbox, func(*nats.Msg) { w.acks.Add(1) }); err != nil {
		t.Fatal(err)
	}
	for s := range m.symbols {
		w.publish(symbol(s), inbox)
	}
	for _, r := range w.regions {
		r.await("the router has all prices", func() bool { return r.Router.Metric("tickfan_router_symbols") == marketSymbols })
	}
	return w
}

// publish sends a tick as ingest does; where its answer goes to is asked for.
func (w *world) publish(s symbol, reply string) {
	w.seq[s]++
	name := w.market.symbols[s]
	if err := w.publisher.PublishRequest(subject.Ticks(name), reply, aTick(name, w.seq[s])); err != nil {
		w.t.Fatal(err)
	}
	w.published.Add(1)
}

// aTick has the fields that Binance's book ticker and trades give.
func aTick(name subject.Symbol, n uint64) []byte {
	now := time.Now().UnixMicro()
	price := tick.NewDecimal(6412300+n%1000, 2)
	t := tick.Tick{Symbol: name, Position: tick.Position{Epoch: 1, Seq: n}, At: now, Quote: tick.Quote{
		Price: price, Bid: price, Ask: tick.NewDecimal(6412301+n%1000, 2), Size: tick.NewDecimal(n%10_000, 5),
		BidSize: tick.NewDecimal(n*7%1_000_000, 5), AskSize: tick.NewDecimal(n*13%1_000_000, 5), TS: now}}
	return t.Append(nil)
}

// join adds edges with so many buckets, and their clients, and tells nobody yet.
func (r *region) join(n int) {
	for i := 0; i*bucketsOfEdge < n; i++ {
		e := newEdge(r.w.t, subject.Region(r.Name), i, min(bucketsOfEdge, n-i*bucketsOfEdge), r.w.market, r.counts)
		r.edges = append(r.edges, e)
		r.crowd.buckets = append(r.crowd.buckets, e.buckets...)
	}
	r.crowd.settle(clock())
}

// connect has all edges begin.
func (w *world) connect() {
	var g errgroup.Group
	for _, r := range w.regions {
		for _, e := range r.edges {
			g.Go(func() error { return e.start(r.Server.URL()) })
		}
	}
	if err := g.Wait(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) disconnect() {
	for _, r := range w.regions {
		for _, e := range r.edges {
			if e.stop != nil {
				e.stop()
			}
		}
	}
}

// route has a region's routers run with a flush window and so many copies.
func (r *region) route(flush time.Duration, copies int) {
	flags := []string{"--flush", flush.String(), "--copies", fmt.Sprint(copies)}
	if r.flags == strings.Join(flags, " ") {
		return
	}
	r.flags = strings.Join(flags, " ")
	for _, s := range r.routers {
		s.Kill()
	}
	r.routers = []*stack.Service{r.Router}
	if copies == 2 {
		if r.second == nil {
			r.second = r.NewRouter("router-b")
		}
		r.routers = append(r.routers, r.second)
	}
	heard := r.heard() + len(r.crowd.buckets)*copies
	for _, s := range r.routers {
		s.Start(flags...)
	}
	for _, s := range r.routers {
		s.AwaitReady()
	}
	r.awaitServed()
	r.awaitHeard(heard)
}

// heard is how many routers all buckets have heard, each counted as often as it was started.
func (r *region) heard() (n int) {
	for _, b := range r.crowd.buckets {
		b.mu.Lock()
		n += len(b.batch.numbers)
		b.mu.Unlock()
	}
	return n
}

// awaitHeard waits until they have heard so many: the first batch of a router brings all that a bucket wants.
func (r *region) awaitHeard(n int) {
	r.w.t.Helper()
	r.await("each bucket has heard its routers", func() bool { return r.heard() >= n })
}

// wishes is how many symbols all buckets ask for.
func (r *region) wishes() (n int) {
	for _, b := range r.crowd.buckets {
		b.mu.Lock()
		n += b.interest.symbols
		b.mu.Unlock()
	}
	return n
}

// open is how many buckets have a symbol that is wanted and not served, and how many are not settled.
func (r *region) open() (waiting, unsettled int) {
	for _, b := range r.crowd.buckets {
		b.mu.Lock()
		if b.interest.waiting > 0 {
			waiting++
		}
		if !b.interest.settled() {
			unsettled++
		}
		b.mu.Unlock()
	}
	return waiting, unsettled
}

// awaitServed waits until nothing is on its way and the routers serve all wishes.
func (r *region) awaitServed() {
	r.w.t.Helper()
	r.await("all interest is served", r.served)
}

// served tells whether nothing is on its way and the routers serve all wishes.
func (r *region) served() bool {
	_, unsettled := r.open()
	return unsettled == 0 && r.serves(r.wishes())
}

func (r *region) serves(wishes int) bool {
	for _, s := range r.routers {
		if int(s.Metric("tickfan_router_interest_symbols")) != wishes {
			return false
		}
	}
	return true
}

// await waits, and ends the test when it takes too long.
func (r *region) await(what string, cond func() bool) {
	r.w.t.Helper()
	if !within(patience, cond) {
		r.w.t.Fatalf("region %s: not within %s: %s", r.Name, patience, what)
	}
}

// within looks ten times a second, so that looking costs little.
func within(limit time.Duration, cond func() bool) bool {
	for began := time.Now(); !cond(); {
		if time.Since(began) > limit {
			return false
		}
		pause(100 * time.Millisecond)
	}
	return true
}

func pause(d time.Duration) { <-time.After(d) }

// stream is the state of a KV store's stream; zero where there is none.
func (r *region) stream(store string) jetstream.StreamState {
	ctx, cancel := context.WithTimeout(r.w.t.Context(), 5*time.Second)
	defer cancel()
	s, err := r.js.Stream(ctx, "KV_"+store)
	if err != nil {
		return jetstream.StreamState{}
	}
	return s.CachedInfo().State
}

// read gives all figures of a region as they stand.
func (r *region) read() (s sample) {
	for f := range r.counts.by {
		s[f] = float64(r.counts.by[f].Load())
	}
	for _, e := range r.edges {
		if e.nc != nil {
			in := e.nc.Stats()
			s[messages] += float64(in.InMsgs)
			s[bytes] += float64(in.InBytes)
		}
	}
	s[ticks] = float64(r.w.published.Load())
	s[writes] = float64(r.stream(subject.KVInterest).LastSeq)
	s[leases] = float64(r.stream(subject.KVEdges).LastSeq)
	s[clientChanges] = float64(r.crowd.changes.Load())
	for _, p := range r.routers {
		s[routerCPU] += r.cpu(p.PID())
	}
	s[natsCPU] = r.cpu(r.Server.PID())
	s[registryCPU] = r.cpu(r.Registry.PID())
	s[homeCPU] = r.cpu(r.w.home.Server.PID())
	s[linkMessages], s[linkBytes] = r.link()
	s[idleCPU] = r.idle()
	s[seconds] = float64(clock()) / 1e9
	return s
}

// link is what home's server says that it has sent to the region's.
func (r *region) link() (messages, bytes float64) {
	if r.Link == nil {
		return 0, 0
	}
	_, body, err := stack.Get("http://" + r.w.monitor + "/leafz")
	var is struct {
		Leafs []struct {
			Name     string  `json:"name"`
			OutMsgs  float64 `json:"out_msgs"`
			OutBytes float64 `json:"out_bytes"`
		} `json:"leafs"`
	}
	if err == nil {
		err = json.Unmarshal([]byte(body), &is)
	}
	if err != nil {
		r.w.t.Errorf("read links: %v", err)
	}
	for _, l := range is.Leafs {
		if l.Name == r.Server.Name() {
			messages, bytes = messages+l.OutMsgs, bytes+l.OutBytes
		}
	}
	return messages, bytes
}

func (r *region) cpu(pid int) float64 {
	d, err := measure.CPU(pid)
	if err != nil {
		r.w.t.Fatal(err)
	}
	return d.Seconds()
}

// idle is how long the machine's cores have had nothing to do, in seconds of one core.
func (r *region) idle() float64 {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		r.w.t.Fatal(err)
	}
	var cpu string
	var user, nice, system, idle float64
	if _, err := fmt.Sscan(string(stat), &cpu, &user, &nice, &system, &idle); err != nil {
		r.w.t.Fatal(err)
	}
	return idle / 100
}

// readAll gives the figures of all regions.
func (w *world) readAll() (all []sample) {
	for _, r := range w.regions {
		all = append(all, r.read())
	}
	return all
}

// since gives how all regions' figures grew.
func (w *world) since(before []sample) (all []sample) {
	for i, r := range w.regions {
		all = append(all, r.read().since(before[i]))
	}
	return all
}
