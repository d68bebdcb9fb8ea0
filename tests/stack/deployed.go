package stack

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/tickfan/tickfan/libs/natstest"
)

// Home is the name of the region where ingest stamps.
const Home = "home"

const (
	user         = "tickfan"
	password     = "services"
	linkPassword = "link"
)

// deployed is a server of a region that is set up by deploy/nats: home.conf or region.conf, and more.
func deployed(t testing.TB, p Programs, name, region, more string, env ...string) *NATS {
	t.Helper()
	module, err := goCommand("", "list", "-m", "-f", "{{.Dir}}", product)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := "region.conf"
	if region == Home {
		config = "home.conf"
	}
	// The server takes what it includes from where the file lies.
	included, err := filepath.Rel(dir, filepath.Join(strings.TrimSpace(module), "deploy", "nats", config))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "nats.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, "include %q\n%s", included, more), 0o600); err != nil {
		t.Fatal(err)
	}
	n := newDisk(t)
	port := restartablePort(t)
	n.url = fmt.Sprintf("nats://%s:%s@127.0.0.1:%d", user, password, port)
	n.Process = NewProcess(t, name, p.Path("nats-server"), append(env,
		"NATS_NAME="+name, "NATS_LISTEN=127.0.0.1:"+strconv.Itoa(port), "NATS_MONITOR=127.0.0.1:-1",
		"NATS_STORE="+n.store, "NATS_DOMAIN="+region, "NATS_PASSWORD="+password), "-c", file)
	return n
}

// leaf is where a server at home takes links.
func leaf(port int) []string {
	return []string{"NATS_LEAF_LISTEN=127.0.0.1:" + strconv.Itoa(port), "NATS_REGION_PASSWORD=" + linkPassword}
}

// homes is a server's link by one or several ways.
func homes(ways []*natstest.Cable) string {
	urls := make([]string, len(ways))
	for i, w := range ways {
		urls[i] = fmt.Sprintf("%q", fmt.Sprintf("nats-leaf://region:%s@%s", linkPassword, w.Address()))
	}
	return "NATS_HOME=[" + strings.Join(urls, ", ") + "]"
}

// clusterConfig makes a server one of several. Each of them has ways of its own to each other, of which nobody else knows:
// what the servers tell each other of their addresses leads nowhere.
const clusterConfig = `
cluster {
	name: $NATS_DOMAIN
	listen: "127.0.0.1:%d"
	advertise: "127.0.0.1:1"
	routes: [%s]
	no_advertise: true
}
`

// newCluster makes servers that share JetStream.
func newCluster(t testing.TB, p Programs, region string, n int, env func(i int) []string) (all []*NATS) {
	t.Helper()
	ports := make([]int, n)
	for i := range ports {
		ports[i] = restartablePort(t)
	}
	routes := make([][]*natstest.Cable, n)
	for i, port := range ports {
		var urls []string
		for k := range ports {
			if k == i {
				continue
			}
			c := natstest.NewCable(t, "nats://127.0.0.1:"+strconv.Itoa(ports[k]))
			routes[i], routes[k] = append(routes[i], c), append(routes[k], c)
			urls = append(urls, c.URL())
		}
		more := ""
		if n > 1 {
			more = fmt.Sprintf(clusterConfig, port, strings.Join(urls, ", "))
		}
		name := "nats-" + region
		if n > 1 {
			name = fmt.Sprintf("%s-%c", name, 'a'+i)
		}
		all = append(all, deployed(t, p, name, region, more, env(i)...))
	}
	for i, s := range all {
		s.Routes = routes[i]
	}
	return all
}
