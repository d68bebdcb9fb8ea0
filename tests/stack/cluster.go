package stack

import (
	"fmt"
	"testing"

	"github.com/tickfan/tickfan/libs/natstest"
)

// ClusterOptions say what to start.
type ClusterOptions struct {
	Programs                                     Programs
	Servers, Registries, Routers, Ingests, Edges int
	Router                                       []string // more flags of each router
	Edge                                         []string // more flags of each edge
}

// Cluster is one region of which everything may be there more than once. Each process has ways of its own to all servers.
type Cluster struct {
	t testing.TB

	Servers                             []*NATS
	Registries, Routers, Ingests, Edges []*Node
}

// Node is a process of Tickfan's and its ways to the servers.
type Node struct {
	*Service
	Cables []*natstest.Cable
}

// StartCluster starts all of it and returns when each part is ready. It ends with the test.
func StartCluster(t testing.TB, o ClusterOptions) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	if o.Servers == 1 {
		c.Servers = []*NATS{newNATS(t, o.Programs)}
	} else {
		c.Servers = newCluster(t, o.Programs, o.Servers)
	}
	for _, s := range c.Servers {
		s.Process.Start()
	}
	for _, s := range c.Servers {
		s.Await(`Server is ready`)
	}
	replicas := []string{"--replicas", fmt.Sprint(o.Servers)}
	c.Registries = c.nodes(o, "registry", o.Registries, replicas...)
	c.Ingests = c.nodes(o, "ingest", o.Ingests, replicas...)
	c.Routers = c.nodes(o, "router", o.Routers, o.Router...)
	c.Edges = c.nodes(o, "edge", o.Edges, o.Edge...)
	for _, n := range c.Nodes() {
		n.Start()
	}
	for _, n := range c.Nodes() {
		n.AwaitReady()
	}
	return c
}

func (c *Cluster) nodes(o ClusterOptions, command string, n int, flags ...string) (all []*Node) {
	for i := range n {
		node := &Node{}
		urls := ""
		for k := range c.Servers {
			cable := natstest.NewCable(c.t, c.Servers[(i+k)%len(c.Servers)].URL())
			node.Cables = append(node.Cables, cable)
			if k > 0 {
				urls += ","
			}
			urls += cable.URL()
		}
		name := fmt.Sprintf("%s-%c", command, 'a'+i)
		args := flags
		if command == "edge" {
			args = append([]string{"--name", name}, flags...)
		}
		node.Service = newService(c.t, o.Programs, name, command, urls, args...)
		all = append(all, node)
	}
	return all
}

// Nodes are all processes of Tickfan's, in the order in which they are started.
func (c *Cluster) Nodes() (all []*Node) {
	for _, nodes := range [][]*Node{c.Registries, c.Ingests, c.Routers, c.Edges} {
		all = append(all, nodes...)
	}
	return all
}

// URLs are those of all servers, comma-separated.
func (c *Cluster) URLs() (urls string) {
	for i, s := range c.Servers {
		if i > 0 {
			urls += ","
		}
		urls += s.URL()
	}
	return urls
}
