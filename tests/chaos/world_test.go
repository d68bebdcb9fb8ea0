package chaos

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/libs/natstest"
	tickfan "github.com/tickfan/tickfan/libs/sdk/go"
	"github.com/tickfan/tickfan/tests/stack"
)

const (
	viewers = 200
	symbols = 20
	each    = 5 // symbols of a viewer
)

// world is a region, who publishes to it and who watches it.
type world struct {
	t    *testing.T
	dice *rand.Rand
	*stack.Cluster
	doors     []*natstest.Cable // before each edge
	publisher *publisher
	viewers   []*viewer

	ages, backs, firsts times // see seen

	mu         sync.Mutex
	violations []string
}

func newWorld(t *testing.T, programs stack.Programs, dice *rand.Rand) *world {
	t.Helper()
	w := &world{t: t, dice: dice}
	w.Cluster = stack.StartCluster(t, stack.ClusterOptions{Programs: programs, Servers: 3, Registries: 2, Routers: 2, Ingests: 2, Edges: 3,
		Router: []string{"--copies", "2"}, Edge: []string{"--drain-timeout", "5s"}})
	var names []string
	for i := range symbols {
		names = append(names, fmt.Sprintf("CHAOS%d-USD", i))
	}
	w.publisher = startPublisher(t, w.URLs(), names)
	natstest.Eventually(t, well, func() bool {
		for _, k := range w.publisher.symbols {
			if k.newest().number == 0 {
				return false
			}
		}
		return true
	}, "a price of each symbol is accepted")
	for _, e := range w.Edges {
		w.doors = append(w.doors, natstest.NewCable(t, e.URL()))
	}
	encodings := []tickfan.Encoding{tickfan.Compact, tickfan.MessagePack, tickfan.JSON}
	for i := range viewers {
		var mine []string
		for k := range each {
			mine = append(mine, names[(i*3+k*7)%symbols])
		}
		mode := map[bool]string{true: "every", false: "latest"}[i%2 == 0]
		w.viewers = append(w.viewers, w.startViewer(fmt.Sprintf("viewer %d (%s)", i, mode), w.doorsFrom(i),
			tickfan.Options{Encoding: encodings[i%3]}, i%2 == 0, mine))
	}
	for i := range w.doors {
		startNewcomer(t, fmt.Sprintf("N%d", i), w.doorsFrom(i), w.URLs(), &w.firsts, w.violated)
	}
	return w
}

// doorsFrom are the addresses of all edges, one of them first.
func (w *world) doorsFrom(first int) string {
	var urls []string
	for k := range w.doors {
		urls = append(urls, "http://"+w.doors[(first+k)%len(w.doors)].Address())
	}
	return strings.Join(urls, ",")
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
		what = ""
		for _, v := range w.viewers {
			if what = v.behind(newest); what != "" {
				break
			}
		}
	}
	took = time.Since(began)
	if what != "" {
		w.violated("not well after %s: %s (prices accepted of %d symbols)", well, what, len(newest))
	}
	for _, k := range w.publisher.symbols {
		oldest := k.newest().Position
		for _, v := range w.viewers {
			v.judge(k)
			v.mu.Lock()
			if s := v.symbols[k.symbol]; s != nil && oldest.After(s.last.Position) {
				oldest = s.last.Position
			}
			v.mu.Unlock()
		}
		k.forget(oldest)
	}
	return took, w.violation() == ""
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
