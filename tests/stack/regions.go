package stack

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/tickfan/tickfan/libs/natstest"
)

// Home is the name of the region where ingest stamps.
const Home = "home"

const (
	password     = "services"
	linkPassword = "link"
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
	leaf := restartablePort(t)
	all = append(all, newRegion(t, p, Home, "home.conf", "NATS_LEAF_LISTEN=127.0.0.1:"+strconv.Itoa(leaf), "NATS_REGION_PASSWORD="+linkPassword))
	for _, name := range away {
		link := natstest.NewCable(t, "nats://127.0.0.1:"+strconv.Itoa(leaf))
		r := newRegion(t, p, name, "region.conf", fmt.Sprintf("NATS_HOME=nats-leaf://region:%s@%s", linkPassword, link.Address()))
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

func newRegion(t testing.TB, p Programs, name, config string, env ...string) *Region {
	t.Helper()
	dir, err := goCommand("", "list", "-m", "-f", "{{.Dir}}", product)
	if err != nil {
		t.Fatal(err)
	}
	port := restartablePort(t)
	n := &NATS{url: fmt.Sprintf("nats://tickfan:%s@127.0.0.1:%d", password, port), store: t.TempDir()}
	n.Process = NewProcess(t, "nats-"+name, p.Path("nats-server"), append(env,
		"NATS_NAME="+name, "NATS_LISTEN=127.0.0.1:"+strconv.Itoa(port), "NATS_MONITOR=127.0.0.1:-1",
		"NATS_STORE="+n.store, "NATS_DOMAIN="+name, "NATS_PASSWORD="+password),
		"-c", filepath.Join(strings.TrimSpace(dir), "deploy", "nats", config))
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
