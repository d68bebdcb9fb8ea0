package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/libs/natstest"
	tickfan "github.com/tickfan/tickfan/libs/sdk/go"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/tests/stack"
)

const (
	viewers = 200
	away    = 40 // of them, in another region
	symbols = 20
	each    = 5 // symbols of a viewer
)

// world is the home region, another one, who publishes to them and who watches them.
type world struct {
	t    *testing.T
	dice *rand.Rand
	*stack.Cluster
	far       *stack.Cluster // the other region
	doors     []door         // at home
	farDoors  []door
	publisher *publisher
	viewers   []*viewer // those at home, those away
	atHome    int
	apart     bool // the other region cannot have the newest now

	quiet    []*published
	turn     int
	named    int          // symbols of newcomers
	whispers atomic.Int32 // under way
	came     []*newcomer

	ages, backs, firsts times // see seen

	mu         sync.Mutex
	violations []string
	removals   map[string]map[string]int // of interest, by registry and edge, as far as they were judged
	asleep     string                    // the edge that was paused for too long, if any
}

// door is a way to an edge.
type door struct{ *natstest.Cable }

func (d door) url() string { return "http://" + d.Address() }

// urls are those of all doors, the n-th first.
func urls(doors []door, n int) string {
	all := make([]string, len(doors))
	for k := range doors {
		all[k] = doors[(n+k)%len(doors)].url()
	}
	return strings.Join(all, ",")
}

func newWorld(t *testing.T, programs stack.Programs, dice *rand.Rand) *world {
	t.Helper()
	w := &world{t: t, dice: dice, removals: map[string]map[string]int{}}
	edge := []string{"--drain-timeout", "5s"}
	w.Cluster = stack.StartCluster(t, stack.ClusterOptions{Programs: programs, Region: stack.Home, Servers: 3, Registries: 2, Routers: 2, Ingests: 2, Edges: 3,
		Router: []string{"--copies", "2"}, Edge: edge})
	w.far = stack.StartCluster(t, stack.ClusterOptions{Programs: programs, Region: "far", Home: w.Cluster, Servers: 1, Registries: 1, Routers: 1, Edges: 2,
		Edge: edge})
	var names []string
	for i := range symbols {
		names = append(names, fmt.Sprintf("CHAOS%d-USD", i))
	}
	w.publisher = startPublisher(t, w.URLs(), names)
	for i := range quietSymbols {
		w.quiet = append(w.quiet, newQuiet(fmt.Sprintf("QUIET%d-USD", i)))
	}
	natstest.Eventually(t, well, func() bool {
		for _, k := range w.publisher.symbols {
			if k.newest().number == 0 {
				return false
			}
		}
		return true
	}, "a price of each symbol is accepted")
	t.Cleanup(func() {
		for _, n := range w.came {
			n.close()
		}
	})
	w.doors, w.farDoors = w.layDoors(w.Edges), w.layDoors(w.far.Edges)
	w.watch(w.doors, viewers-away, names, "")
	w.atHome = len(w.viewers)
	w.watch(w.farDoors, away, names, ", far")
	for i := range w.doors {
		startAsker(t, fmt.Sprintf("N%d", i), urls(w.doors, i), w.URLs(), &w.firsts, w.violated)
	}
	return w
}

func (w *world) layDoors(edges []*stack.Node) (all []door) {
	for _, e := range edges {
		all = append(all, door{natstest.NewCable(w.t, e.URL())})
	}
	return all
}

// watch has clients come by the doors, and two bare ones by each.
func (w *world) watch(doors []door, n int, names []string, where string) {
	w.t.Helper()
	quiet := make([]string, len(w.quiet))
	for i, k := range w.quiet {
		quiet[i] = k.symbol
	}
	encodings := []tickfan.Encoding{tickfan.Compact, tickfan.MessagePack, tickfan.JSON}
	for i := range n {
		var mine []string
		for k := range each {
			mine = append(mine, names[(i*3+k*7)%symbols])
		}
		for k := range quietOfEach {
			mine = append(mine, quiet[(i+k*3)%len(quiet)])
		}
		mode := map[bool]string{true: "every", false: "latest"}[i%2 == 0]
		w.viewers = append(w.viewers, w.startViewer(fmt.Sprintf("viewer %d (%s%s)", i, mode, where), urls(doors, i),
			tickfan.Options{Encoding: encodings[i%3]}, i%2 == 0, mine))
	}
	all := append(slices.Clone(names), quiet...)
	for i := range 2 * len(doors) {
		var addresses []string
		for k := range doors {
			addresses = append(addresses, doors[(i+k)%len(doors)].Address())
		}
		every := i >= len(doors)
		mode := map[bool]string{true: "every", false: "latest"}[every]
		w.viewers = append(w.viewers, startBare(w.t, fmt.Sprintf("bare viewer %d (%s%s)", i, mode, where), addresses, w.violated, every, all))
	}
}

// judged are those who must have the newest prices now.
func (w *world) judged() []*viewer {
	all := slices.Clone(w.viewers)
	if w.apart {
		all = all[:w.atHome]
	}
	for _, n := range w.came {
		if !n.far || !w.apart {
			all = append(all, n.viewer)
		}
	}
	return all
}

// violated notes something that must not be.
func (w *world) violated(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.violations) < 20 {
		w.violations = append(w.violations, fmt.Sprintf(format, args...))
	}
}

func (w *world) violation() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.violations, "\n\t")
}

// settle waits until prices are accepted again and every viewer has what was newest then, and tells how long that took.
// false: it took too long, or something was seen that must not be.
func (w *world) settle() (took time.Duration, ok bool) {
	began := time.Now()
	judged := w.judged()
	newest := map[string]accepted{}
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	what := "a price of each symbol is accepted"
	for ; what != "" && time.Since(began) < well; <-look.C {
		if len(newest) < symbols {
			for _, k := range w.publisher.symbols {
				k.mu.Lock()
				if k.answered.After(began) {
					newest[k.symbol] = k.accepted[len(k.accepted)-1]
				}
				k.mu.Unlock()
			}
			continue
		}
		if w.whispers.Load() > 0 {
			continue
		}
		for _, k := range w.quietOnes() {
			newest[k.symbol] = k.newest()
		}
		what = ""
		for _, v := range judged {
			if what = v.behind(newest); what != "" {
				break
			}
		}
	}
	took = time.Since(began)
	if what != "" {
		w.violated("not well after %s: %s (prices accepted of %d symbols)", well, what, len(newest))
	}
	w.judge()
	w.judgeRemovals()
	return took, w.violation() == ""
}

// quietOnes are the symbols that are published now and then.
func (w *world) quietOnes() []*published {
	all := slices.Clone(w.quiet)
	for _, n := range w.came {
		all = append(all, n.wants)
	}
	return all
}

// judge judges the steps that viewers took, and forgets what no viewer can step over any more.
func (w *world) judge() {
	all := w.viewers
	for _, n := range w.came {
		all = append(all[:len(all):len(all)], n.viewer)
	}
	for _, k := range append(w.quietOnes(), w.publisher.symbols...) {
		oldest := k.newest().Position
		for _, v := range all {
			v.judge(k)
			v.mu.Lock()
			if s := v.symbols[k.symbol]; s != nil && oldest.After(s.last.Position) {
				oldest = s.last.Position
			}
			v.mu.Unlock()
		}
		k.forget(oldest)
	}
}

var (
	removal = regexp.MustCompile(`msg="interest of a dead edge removed" .*edge=(\S+)`)
	edgeID  = regexp.MustCompile(`msg=listening .* edge=(\S+) address=`)
)

// edgeOf is the id of the edge that has logged so.
func edgeOf(log string) string {
	if id := edgeID.FindStringSubmatch(log); id != nil {
		return id[1]
	}
	return ""
}

// judgeRemovals finds interest of an edge that lives, and is not asleep, and was removed all the same.
func (w *world) judgeRemovals() {
	for _, c := range []*stack.Cluster{w.Cluster, w.far} {
		live := map[string]bool{}
		for _, e := range c.Edges {
			live[edgeOf(e.Log())] = e.Running()
		}
		for _, r := range c.Registries {
			removals := map[string]int{}
			for _, m := range removal.FindAllStringSubmatch(r.Log(), -1) {
				removals[m[1]]++
			}
			for edge, n := range removals {
				if live[edge] && edge != w.asleep && n > w.removals[r.Name()][edge] {
					w.violated("%s removed the interest of %s, which lives", r.Name(), edge)
				}
			}
			w.removals[r.Name()] = removals
		}
	}
}

// leased tells whether an edge has renewed its lease a moment ago.
func (w *world) leased(edge string) bool {
	nc, err := nats.Connect(w.URLs(), nats.Timeout(time.Second))
	if err != nil {
		return false
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Second)
	defer cancel()
	kv, err := js.KeyValue(ctx, subject.KVEdges)
	if err != nil {
		return false
	}
	e, err := kv.Get(ctx, edge)
	return err == nil && time.Since(e.Created()) < 3*time.Second
}

// leader is the server that leads a stream's group, nil when there is none or nobody says.
func (w *world) leader(stream string) *stack.NATS {
	nc, err := nats.Connect(w.URLs(), nats.Timeout(time.Second))
	if err != nil {
		return nil
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return nil
	}
	s, err := js.Stream(w.t.Context(), stream)
	if err != nil {
		return nil
	}
	if c := s.CachedInfo().Cluster; c != nil {
		for _, n := range w.Servers {
			if n.Name() == c.Leader {
				return n
			}
		}
	}
	return nil
}
