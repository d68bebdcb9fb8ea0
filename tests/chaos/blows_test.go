package chaos

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/tests/stack"
)

// blow is something that may happen to a region.
type blow struct {
	name string
	// deal does it and gives what mends it. spare: the region must be well without that, too.
	deal  func(*world) (mend func())
	spare bool
}

const (
	spare  = true
	mended = !spare
)

const (
	// pastLease is longer than the lease of an edge, or of an ingest.
	pastLease = 15500 * time.Millisecond
	// pastGrace is less than what an edge is given beyond its lease, which has 12 s left when it is paused.
	pastGrace = 20 * time.Second
)

func blows() []blow {
	all := []blow{
		{"nothing", func(*world) func() { return func() {} }, spare}, // what the others are to be compared with
		{"kill the leading ingest", kill((*world).leadingIngest), spare},
		{"kill the server that leads TICKS", killServer("TICKS"), spare},
		{"kill the server that leads INTEREST", killServer("KV_INTEREST"), spare},
		{"kill a server", func(w *world) func() { return w.killServer(pick(w, w.Servers)) }, spare},
		{"kill all servers", (*world).killServers, mended},
		{"kill all servers past the leases", past((*world).killServers), mended},
		{"power loss", (*world).powerLoss, mended},
		{"pause a server", (*world).pauseServer, mended},
		{"pause the leading ingest", func(w *world) func() { return w.pause(w.leadingIngest().Process) }, mended},
		{"pause the leading ingest past its lease", func(w *world) func() { return w.pause(w.leadingIngest().Process) }, spare},
		{"pause an edge past its lease", past((*world).pauseEdge), mended},
		{"cut an edge's clients", func(w *world) func() { d := pick(w, w.doors); d.Cut(); return d.Mend }, mended},
		{"stall an edge's clients", func(w *world) func() { d := pick(w, w.doors); d.Stall(); return d.Mend }, mended},
		{"cut all edges off", cables((*world).edges, (*natstest.Cable).Cut), mended},
		{"cut all routers off", cables((*world).routers, (*natstest.Cable).Cut), mended},
		{"cut a server off from the others", part((*natstest.Cable).Cut), mended},
		{"stall a server's ways to the others", part((*natstest.Cable).Stall), mended},
		{"fill the disk of the server that leads TICKS", (*world).fillLeader, spare},
		{"fill all disks", (*world).fillAll, spare},
		{"an old tick comes late", (*world).oldTick, spare},
		{"stop an edge while no router hears of it", (*world).forgotten, spare},
		{"drain an edge", (*world).drain, spare},
		{"restart all edges, one after the other", (*world).roll, mended},

		{"cut the far region's link", farLink((*natstest.Cable).Cut), spare},
		{"stall the far region's link", farLink((*natstest.Cable).Stall), spare},
		{"kill the far region's server", (*world).killFarServer, spare},
		{"kill the far region's router", apart(kill((*world).farRouter)), spare},
		{"cut the far region's router off", apart(ways((*world).farRouter, (*natstest.Cable).Cut)), spare},
		{"kill the far region's registry", kill(func(w *world) *stack.Node { return w.far.Registries[0] }), mended},
		{"kill an edge of the far region", kill(func(w *world) *stack.Node { return pick(w, w.far.Edges) }), spare},
	}
	for name, nodes := range map[string]func(*world) []*stack.Node{
		"a registry": func(w *world) []*stack.Node { return w.Registries },
		"a router":   (*world).routers,
		"an ingest":  func(w *world) []*stack.Node { return w.Ingests },
		"an edge":    (*world).edges,
	} {
		one := func(w *world) *stack.Node { return pick(w, nodes(w)) }
		all = append(all,
			blow{"kill " + name, kill(one), spare},
			blow{"pause " + name, func(w *world) func() { return w.pause(one(w).Process) }, mended},
			blow{"cut " + name + " off", ways(one, (*natstest.Cable).Cut), mended},
			blow{"stall " + name + "'s ways", ways(one, (*natstest.Cable).Stall), mended},
		)
	}
	for i := range all {
		all[i].deal = disturbedBy(all[i].deal)
	}
	return all
}

func (w *world) routers() []*stack.Node { return w.Routers }
func (w *world) edges() []*stack.Node   { return w.Edges }
func (w *world) farRouter() *stack.Node { return w.far.Routers[0] }

func pick[T any](w *world, all []T) T { return all[w.dice.IntN(len(all))] }

// between lets some time pass.
func (w *world) between(least, most time.Duration) {
	<-time.After(least + time.Duration(w.dice.Int64N(int64(most-least))))
}

func kill(one func(*world) *stack.Node) func(*world) func() {
	return func(w *world) func() {
		n := one(w)
		n.Kill()
		return func() { n.Start(); n.AwaitReady() }
	}
}

func (w *world) killServer(n *stack.NATS) func() {
	n.Kill()
	return n.Start
}

func killServer(stream string) func(*world) func() {
	return func(w *world) func() {
		n := w.leader(stream)
		if n == nil {
			n = pick(w, w.Servers)
		}
		return w.killServer(n)
	}
}

func (w *world) killServers() func() {
	for _, n := range w.Servers {
		n.Kill()
	}
	return w.startServers
}

func (w *world) startServers() {
	for _, n := range w.Servers {
		n.Process.Start()
	}
	for _, n := range w.Servers {
		n.Await(`Server is ready`)
	}
}

// powerLoss puts all servers back to what their disks held some moments before.
func (w *world) powerLoss() func() {
	kept := w.t.TempDir()
	for _, n := range w.Servers {
		if err := copyFolder(filepath.Join(kept, n.Name()), n.Store()); err != nil {
			w.t.Fatalf("copy store: %v", err)
		}
	}
	w.between(time.Second, 4*time.Second)
	for _, n := range w.Servers {
		n.Kill()
	}
	for _, n := range w.Servers {
		err := os.RemoveAll(n.Store())
		if err == nil { // which may be on another disk
			err = copyFolder(n.Store(), filepath.Join(kept, n.Name()))
		}
		if err != nil {
			w.t.Fatalf("put store back: %v", err)
		}
	}
	return w.startServers
}

// copyFolder copies files that may change or go meanwhile, as a disk holds them.
func copyFolder(to, from string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	return filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil
		}
		rel, relErr := filepath.Rel(from, path)
		if err != nil || relErr != nil {
			return fmt.Errorf("walk %s: %w", path, err)
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		p, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), p, 0o644)
	})
}

func (w *world) pause(p *stack.Process) func() {
	p.Signal(syscall.SIGSTOP)
	return func() { p.Signal(syscall.SIGCONT) }
}

// pauseEdge pauses one that holds its lease. When that turns out to last too long its interest may be removed.
func (w *world) pauseEdge() func() {
	e := pick(w, w.Edges)
	id := edgeOf(e.Log())
	natstest.Eventually(w.t, well, func() bool { return w.leased(id) }, "edge %s holds a lease", id)
	began := time.Now()
	resume := w.pause(e.Process)
	return func() {
		resume()
		if time.Since(began) > pastGrace {
			w.asleep = id
		}
	}
}

// pauseServer spares the one that the publisher is on. What lies unread before a paused server reaches ingest when it goes on,
// after what the publisher has sent by another meanwhile: so it is ingest's newest, and no fault of anybody's here.
func (w *world) pauseServer() func() {
	at := w.publisher.nc.ConnectedAddr()
	others := slices.DeleteFunc(slices.Clone(w.Servers), func(n *stack.NATS) bool { return at != "" && strings.HasSuffix(n.URL(), "@"+at) })
	return w.pause(pick(w, others).Process)
}

// past lets a blow last longer than a lease.
func past(deal func(*world) func()) func(*world) func() {
	return func(w *world) func() {
		mend := deal(w)
		w.between(pastLease, pastLease+time.Second)
		return mend
	}
}

// ways does something to all ways of a process to the servers.
func ways(one func(*world) *stack.Node, do func(*natstest.Cable)) func(*world) func() {
	return cables(func(w *world) []*stack.Node { return []*stack.Node{one(w)} }, do)
}

// cables does it to the ways of several at once.
func cables(nodes func(*world) []*stack.Node, do func(*natstest.Cable)) func(*world) func() {
	return func(w *world) func() {
		all := nodes(w)
		for _, n := range all {
			for _, c := range n.Cables {
				do(c)
			}
		}
		return func() {
			for _, n := range all {
				for _, c := range n.Cables {
					c.Mend()
				}
			}
			for _, n := range all {
				n.AwaitReady()
			}
		}
	}
}

// leadingIngest is the one of the highest epoch: one that was cut off or paused may not know yet that another leads.
func (w *world) leadingIngest() *stack.Node {
	return slices.MaxFunc(w.Ingests, func(a, b *stack.Node) int {
		return cmp.Compare(a.Metric("tickfan_ingest_epoch"), b.Metric("tickfan_ingest_epoch"))
	})
}

// leads tells whether an ingest is one that stamps, as far as it knows.
func leads(n *stack.Node) bool { return n.Metric("tickfan_ingest_epoch") > 0 }

func (w *world) drain() func() {
	n := pick(w, w.Edges)
	w.stop(n)
	return func() { n.Start(); n.AwaitReady() }
}

func (w *world) roll() func() {
	for _, n := range w.Edges {
		w.stop(n)
		n.Start()
		n.AwaitReady()
	}
	return func() {}
}

func (w *world) stop(n *stack.Node) {
	if e := n.Stop(syscall.SIGTERM); e.Code != 0 {
		w.violated("%s ended with %d", n.Name(), e.Code)
	}
}
