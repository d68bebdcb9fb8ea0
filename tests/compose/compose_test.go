package compose

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	page = "http://localhost:8080"
	bus  = "nats://127.0.0.1:4222"
)

// around is what stands around each form.
func around(services map[string]int) map[string]int {
	for _, s := range []string{"nginx", "jaeger", "prometheus", "grafana"} {
		services[s] = 1
	}
	return services
}

// publish sends a price by the nats CLI.
func (p *project) publish(server, price string) {
	p.t.Helper()
	answer := p.run("nats", "--server", server, "req", "--raw", "ingest."+symbol, fmt.Sprintf(`{"price":%q}`, price))
	if !strings.Contains(answer, `"ok":true`) {
		p.t.Fatalf("publish %s: %s", price, answer)
	}
}

// reaches publishes a price and waits until all clients have it.
func (p *project) reaches(server, price string, clients []*client) {
	p.t.Helper()
	p.publish(server, price)
	eventually(p.t, patience, func() bool { return have(clients, price) }, fmt.Sprintf("%d clients have price %s", len(clients), price))
}

// TestDefault is the way of a newcomer through what "docker compose up" starts.
func TestDefault(t *testing.T) {
	p := newProject(t, "")
	before := p.volumes()
	p.up()
	p.expect(around(map[string]int{"nats": 1, "registry": 1, "router": 1, "ingest": 1, "edge": 2}))
	p.confined()

	hello := p.compose("run", "--rm", "hello")
	for _, line := range []string{"page        " + page, `nats pub ingest.BTC-USD '{"price":"64123.51"}'`, "http://localhost:16686", "http://localhost:3000"} {
		if !strings.Contains(hello, line) {
			t.Errorf("hello does not say %q:\n%s", line, hello)
		}
	}
	if body := get(page + "/"); !strings.Contains(body, "<html") || !strings.Contains(body, "Tickfan") {
		t.Errorf("GET %s/: not the page: %.100q", page, body)
	}
	if out := p.compose("run", "--rm", "tickctl", "pub", symbol, "1.5"); !strings.Contains(out, "ok") {
		t.Errorf("tickctl pub: %s", out)
	}

	nc := operator(t, bus)
	clients := dial(t, "ws://localhost:8080", 20)
	eventually(t, patience, func() bool {
		edges := slices.Collect(maps.Values(connections(nc, "local")))
		slices.Sort(edges)
		return slices.Equal(edges, []int{10, 10})
	}, "each edge has half of the clients")
	p.reaches(bus, "2.5", clients)

	victim := p.container("edge")
	p.run("docker", "kill", victim)
	p.reaches(bus, "3.5", clients)
	eventually(t, patience, func() bool {
		return slices.Equal(slices.Collect(maps.Values(connections(nc, "local"))), []int{20})
	}, "the killed edge's clients are on the other one")

	p.compose("up", "--detach", "--scale", "edge=4")
	follows := !strings.Contains(*overridesFlag, "old-nginx")
	if follows {
		p.follows(nc)
	} else {
		t.Log("this nginx is too old to follow scaling: not tested")
	}
	eventually(t, patience, func() bool {
		return p.scraped("edge") == 4 && p.scraped("router") == 1 && p.scraped("registry") == 1 && p.scraped("ingest") == 1
	},
		"Prometheus reads all services")

	if follows {
		p.compose("up", "--detach", "--scale", "edge=1") // those that go send their clients to the one that stays
	}
	p.reaches(bus, "4.5", clients)

	p.compose("down")
	if left := p.leftovers(); !slices.Equal(left, []string{"volume " + name + "_nats"}) {
		t.Errorf("down leaves %q, want the volume of nats", left)
	}
	if now, want := p.volumes(), append(before, name+"_nats"); !sameSet(now, want) { // an image's volume has no label
		t.Errorf("volumes after down: %q, want %q", now, want)
	}
	p.compose("up", "--detach", "--wait")
	if body := get(page + "/v1/ticks/" + symbol); !strings.Contains(body, `"price":"4.5"`) {
		t.Errorf("after down and up the price is %q, want the one from before", body)
	}
	p.compose("down", "--volumes")
	if left := p.leftovers(); len(left) > 0 {
		t.Errorf("down --volumes leaves %q", left)
	}
	if now := p.volumes(); !sameSet(now, before) {
		t.Errorf("volumes after down --volumes: %q, want %q", now, before)
	}
}

// follows checks that nginx sends clients to edges that have just come.
func (p *project) follows(nc *nats.Conn) {
	p.t.Helper()
	eventually(p.t, 10*time.Second, func() bool {
		dial(p.t, "ws://localhost:8080", 1)
		all := connections(nc, "local")
		return len(all) == 4 && !slices.Contains(slices.Collect(maps.Values(all)), 0)
	}, "clients are on each of four edges")
}

// container names one of a service.
func (p *project) container(service string) string {
	p.t.Helper()
	for _, c := range p.containers() {
		if c.service() == service {
			return strings.TrimPrefix(c.Name, "/")
		}
	}
	p.t.Fatalf("no container of %s", service)
	return ""
}

// scraped is how many processes of a service Prometheus reads.
func (p *project) scraped(job string) int {
	var answer struct {
		Data struct {
			Result []struct{ Value []any }
		}
	}
	body := get("http://localhost:9095/api/v1/query?query=" + url.QueryEscape(fmt.Sprintf("up{job=%q} == 1", job)))
	if json.Unmarshal([]byte(body), &answer) != nil {
		return 0
	}
	return len(answer.Data.Result)
}

// confined checks that the services are not root, cannot write to their root, and that no port is open but those that
// README names, on this host alone.
func (p *project) confined() {
	p.t.Helper()
	var ports []string
	for _, c := range p.containers() {
		for _, bindings := range c.HostConfig.PortBindings {
			for _, b := range bindings {
				ports = append(ports, b.HostPort)
				if b.HostIp != "127.0.0.1" {
					p.t.Errorf("%s: port %s is open to %s", c.Name, b.HostPort, b.HostIp)
				}
			}
		}
		switch c.service() {
		case "ingest", "router", "registry", "edge", "nginx":
			if c.Config.User != "65532:65532" {
				p.t.Errorf("%s: runs as %q", c.Name, c.Config.User)
			}
			fallthrough
		case "nats", "prometheus":
			if !c.HostConfig.ReadonlyRootfs {
				p.t.Errorf("%s: can write to its root", c.Name)
			}
		}
	}
	slices.Sort(ports)
	if want := []string{"16686", "3000", "4222", "4317", "8080", "8222", "9095"}; !slices.Equal(ports, want) {
		p.t.Errorf("ports on the host: %q, want %q", ports, want)
	}
}

// TestCluster loses one of three nats-servers and one of two of each service.
func TestCluster(t *testing.T) {
	p := newProject(t, "cluster")
	p.up()
	p.expect(around(map[string]int{"nats-a": 1, "nats-b": 1, "nats-c": 1, "cluster-registry": 2, "cluster-router": 2, "cluster-ingest": 2, "cluster-edge": 2}))
	clients := dial(t, "ws://localhost:8080", 4)
	p.reaches(bus, "1.5", clients)
	p.run("docker", "kill", p.stamping(), p.container("nats-b"), p.container("cluster-registry"), p.container("cluster-router"), p.container("cluster-edge"))
	eventually(t, patience, func() bool { return get("http://localhost:8222/healthz") != "" }, "NATS is healthy")
	p.awaitIngest(bus)
	p.reaches(bus, "2.5", clients)
}

// stamping names the ingest that does not stand by.
func (p *project) stamping() string {
	p.t.Helper()
	for _, c := range p.containers() {
		if c.service() == "cluster-ingest" && exec.Command("docker", "exec", strings.TrimPrefix(c.Name, "/"), "/tickfan", "health").Run() == nil {
			return strings.TrimPrefix(c.Name, "/")
		}
	}
	p.t.Fatal("no ingest is ready")
	return ""
}

// awaitIngest waits until a price is taken: the ingest that stood by takes over within seconds.
func (p *project) awaitIngest(server string) {
	p.t.Helper()
	nc := operator(p.t, server)
	eventually(p.t, patience, func() bool {
		m, err := nc.Request("ingest."+symbol, []byte("1.75"), time.Second)
		return err == nil && strings.Contains(string(m.Data), `"ok":true`)
	}, "a price is taken")
}

// TestRegions publishes at home and in a region; clients of each region have it.
func TestRegions(t *testing.T) {
	p := newProject(t, "regions")
	p.up()
	want := map[string]int{"home-ingest": 1}
	for _, region := range []string{"home", "eu", "us"} {
		for _, s := range []string{"nats", "registry", "router", "edge"} {
			want[region+"-"+s] = 1
		}
	}
	p.expect(around(want))
	if hello := p.compose("run", "--rm", "hello"); !strings.Contains(hello, "nats --server nats://tickfan:tickfan@localhost:4222 pub ") {
		t.Errorf("hello does not say how to publish:\n%s", hello)
	}
	var clients []*client
	for _, at := range []string{"ws://localhost:8080", "ws://localhost:8081", "ws://localhost:8082"} {
		clients = append(clients, dial(t, at, 2)...)
	}
	p.reaches("nats://tickfan:tickfan@127.0.0.1:4222", "1.5", clients)
	p.compose("down")
	if left := p.leftovers(); len(left) != 3 {
		t.Errorf("down leaves %q, want the three volumes", left)
	}
}
