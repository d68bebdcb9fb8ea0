package stack

import (
	"strconv"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/tickfan/tickfan/libs/natstest"
)

// Region is a region's server and services. Its server is set up by deploy/nats.
type Region struct {
	t        testing.TB
	programs Programs

	Name     string
	Server   *NATS
	Link     *natstest.Cable // to home; nil at home
	Registry *Service
	Ingest   *Service // nil away from home
	Router   *Service
	Edge     *Service
}

// StartRegions starts the home region and others, with their links, and returns when each part is ready: home first. They
// end with the test.
func StartRegions(t testing.TB, p Programs, away ...string) (all []*Region) {
	t.Helper()
	port := restartablePort(t)
	all = append(all, newRegion(t, p, Home, leaf(port)...))
	for _, name := range away {
		link := natstest.NewCable(t, "nats://127.0.0.1:"+strconv.Itoa(port))
		r := newRegion(t, p, name, homes([]*natstest.Cable{link}))
		r.Link = link
		all = append(all, r)
	}
	var services []*Service
	for _, r := range all {
		services = append(services, r.services()...)
	}
	for _, s := range services {
		s.Start()
	}
	for _, s := range services {
		s.AwaitReady()
	}
	return all
}

func newRegion(t testing.TB, p Programs, name string, env ...string) *Region {
	t.Helper()
	n := deployed(t, p, "nats-"+name, name, "", env...)
	n.Start()
	r := &Region{t: t, programs: p, Name: name, Server: n}
	r.Registry = r.service("registry", "registry")
	if name == Home {
		r.Ingest = r.service("ingest", "ingest")
	}
	r.Router = r.service("router", "router")
	r.Edge = r.NewEdge("edge")
	return r
}

func (r *Region) service(name, command string, flags ...string) *Service {
	flags = append([]string{"--region", r.Name, "--home", Home}, flags...)
	return newService(r.t, r.programs, name+"-"+r.Name, command, r.Server.URL(), flags...)
}

// NewEdge makes one more edge, which is not started yet.
func (r *Region) NewEdge(name string) *Service { return r.service(name, "edge", "--name", name) }

// NewRouter makes one more router, which is not started yet.
func (r *Region) NewRouter(name string) *Service { return r.service(name, "router") }

func (r *Region) services() []*Service {
	all := []*Service{r.Registry, r.Router, r.Edge}
	if r.Ingest != nil {
		all = append(all, r.Ingest)
	}
	return all
}

// Connect is a plain client's connection to the region's server.
func (r *Region) Connect() *nats.Conn { return r.Server.Connect(r.t) }
