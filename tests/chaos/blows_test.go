package chaos

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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

func blows() []blow {
	all := []blow{
		{"nothing", func(*world) func() { return func() {} }, true}, // what the others are to be compared with
		{"kill the leading ingest", kill((*world).leadingIngest), true},
		{"kill the server that leads TICKS", killServer("TICKS"), true},
		{"kill the server that leads INTEREST", killServer("KV_INTEREST"), true},
		{"kill a server", func(w *world) func() { return w.killServer(pick(w, w.Servers)) }, true},
		{"kill all servers", (*world).killServers, false},
		{"power loss", (*world).powerLoss, false},
		{"pause a server", func(w *world) func() { return w.pause(pick(w, w.Servers).Process) }, false},
		{"pause the leading ingest", func(w *world) func() { return w.pause(w.leadingIngest().Process) }, false},
		{"cut an edge's clients", func(w *world) func() { d := pick(w, w.doors); d.Cut(); return d.Mend }, false},
		{"stall an edge's clients", func(w *world) func() { d := pick(w, w.doors); d.Stall(); return d.Mend }, false},
		{"drain an edge", (*world).drain, true},
		{"restart all edges, one after the other", (*world).roll, false},
	}
	for name, nodes := range map[string]func(*world) []*stack.Node{
		"a registry": func(w *world) []*stack.Node { return w.Registries },
		"a router":   func(w *world) []*stack.Node { return w.Routers },
		"an ingest":  func(w *world) []*stack.Node { return w.Ingests },
		"an edge":    func(w *world) []*stack.Node { return w.Edges },
	} {
		one := func(w *world) *stack.Node { return pick(w, nodes(w)) }
		all = append(all,
			blow{"kill " + name, kill(one), true},
			blow{"pause " + name, func(w *world) func() { return w.pause(one(w).Process) }, false},
			blow{"cut " + name + " off", ways(one, (*natstest.Cable).Cut), false},
			blow{"stall " + name + "'s ways", ways(one, (*natstest.Cable).Stall), false},
		)
	}
	return all
}

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
		if err == nil {
			err = os.Rename(filepath.Join(kept, n.Name()), n.Store())
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

// ways does something to all ways of a process to the servers.
func ways(one func(*world) *stack.Node, do func(*natstest.Cable)) func(*world) func() {
	return func(w *world) func() {
		n := one(w)
		for _, c := range n.Cables {
			do(c)
		}
		return func() {
			for _, c := range n.Cables {
				c.Mend()
			}
			n.AwaitReady()
		}
	}
}

// leadingIngest is the one of the highest epoch: one that was cut off or paused may not know yet that another leads.
func (w *world) leadingIngest() *stack.Node {
	return slices.MaxFunc(w.Ingests, func(a, b *stack.Node) int {
		return cmp.Compare(a.Metric("tickfan_ingest_epoch"), b.Metric("tickfan_ingest_epoch"))
	})
}

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
