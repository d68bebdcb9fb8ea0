package stack

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tickfan/tickfan/libs/natstest"
)

// ClusterOptions say what to start.
type ClusterOptions struct {
	Programs Programs
	// Region is the name of one whose servers are set up by deploy/nats: Home, or one that is linked to home. "": one server
	// of its own, for all.
	Region                                       string
	Home                                         *Cluster // of another region than Home
	Servers, Registries, Routers, Ingests, Edges int
	Router                                       []string // more flags of each router
	Edge                                         []string // more flags of each edge
}

// Cluster is one region of which everything may be there more than once. Each process has ways of its own to all servers.
type Cluster struct {
	t testing.TB

	Servers                             []*NATS
	Link                                []*natstest.Cable // to each server at home; nil at home
	Registries, Routers, Ingests, Edges []*Node

	leaves []int // ports for links
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
	c.newServers(o)
	for _, s := range c.Servers {
		s.Process.Start()
	}
	for _, s := range c.Servers {
		s.Await(`Server is ready`)
	}
	var region []string
	if o.Region != "" {
		region = []string{"--region", o.Region, "--home", Home}
	}
	replicas := []string{"--replicas", fmt.Sprint(o.Servers)}
	c.Registries = c.nodes(o, "registry", o.Registries, region, replicas)
	c.Ingests = c.nodes(o, "ingest", o.Ingests, region, replicas)
	c.Routers = c.nodes(o, "router", o.Routers, region, o.Router)
	c.Edges = c.nodes(o, "edge", o.Edges, region, o.Edge)
	for _, n := range c.Nodes() {
		n.Start()
	}
	for _, n := range c.Nodes() {
		n.AwaitReady()
	}
	return c
}

func (c *Cluster) newServers(o ClusterOptions) {
	switch {
	case o.Region == "":
		c.Servers = []*NATS{newNATS(c.t, o.Programs)}
	case o.Home == nil:
		for range o.Servers {
			c.leaves = append(c.leaves, restartablePort(c.t))
		}
		c.Servers = newCluster(c.t, o.Programs, o.Region, o.Servers, func(i int) []string { return leaf(c.leaves[i]) })
	default:
		for _, port := range o.Home.leaves {
			c.Link = append(c.Link, natstest.NewCable(c.t, "nats://127.0.0.1:"+strconv.Itoa(port)))
		}
		c.Servers = newCluster(c.t, o.Programs, o.Region, o.Servers, func(int) []string { return []string{homes(c.Link)} })
	}
}

func (c *Cluster) nodes(o ClusterOptions, command string, n int, flags ...[]string) (all []*Node) {
	for i := range n {
		node := &Node{}
		urls := ""
		for k := range c.Servers {
			server := c.Servers[(i+k)%len(c.Servers)].URL()
			at := strings.LastIndexAny(server, "/@") + 1
			cable := natstest.NewCable(c.t, server[at:])
			node.Cables = append(node.Cables, cable)
			if k > 0 {
				urls += ","
			}
			urls += server[:at] + cable.Address()
		}
		name := fmt.Sprintf("%s-%c", command, 'a'+i)
		args := slices.Concat(flags...)
		if command == "edge" {
			args = append([]string{"--name", name}, args...)
		}
		if o.Home != nil {
			name += "-" + o.Region
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
