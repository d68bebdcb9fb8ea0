package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/tests/stack"
)

// deployed are the three servers of a region, each set up as deploy/nats says: home.conf or region.conf, and cluster.conf.
func deployed(t *testing.T, region string, env func(i int) []string) (servers []*stack.Process, urls []string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../deploy/nats")); err != nil {
		t.Fatal(err)
	}
	config := "region.conf"
	if region == stack.Home {
		config = "home.conf"
	}
	file := filepath.Join(dir, "server.conf")
	if err := os.WriteFile(file, []byte("include "+config+"\ninclude cluster.conf\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var ports, listens [3]string
	for i := range ports {
		ports[i] = "127.0.0.1:" + strconv.Itoa(stack.Port(t))
		listens[i] = "127.0.0.1:" + strconv.Itoa(stack.Port(t))
	}
	for i := range ports {
		name := fmt.Sprintf("%s-%c", region, 'a'+i)
		s := stack.NewProcess(t, "nats-"+name, programs.Path("nats-server"), append(env(i),
			"NATS_NAME="+name, "NATS_DOMAIN="+region, "NATS_PASSWORD=services", "NATS_STORE="+filepath.Join(dir, name),
			"NATS_LISTEN="+listens[i], "NATS_MONITOR=127.0.0.1:-1", "NATS_CLUSTER_LISTEN="+ports[i],
			"NATS_ROUTE_A=nats://"+ports[0], "NATS_ROUTE_B=nats://"+ports[1], "NATS_ROUTE_C=nats://"+ports[2]), "-c", file)
		s.Start()
		servers = append(servers, s)
		urls = append(urls, "nats://tickfan:services@"+listens[i])
	}
	for _, s := range servers {
		s.Await(`Server is ready`)
	}
	return servers, urls
}

// Two regions of three servers each, by the files that are shipped: streams and the mirror have three replicas, and a tick
// crosses once to each server of the region to which a router is connected, and once more for the mirror.
func TestDeployedClusters(t *testing.T) {
	t.Parallel()
	var leaves [3]string
	home, homeURLs := deployed(t, stack.Home, func(i int) []string {
		leaves[i] = "127.0.0.1:" + strconv.Itoa(stack.Port(t))
		return []string{"NATS_LEAF_LISTEN=" + leaves[i], "NATS_REGION_PASSWORD=link"}
	})
	_, euURLs := deployed(t, "eu", func(i int) []string { return []string{"NATS_HOME=nats-leaf://region:link@" + leaves[i]} })

	connect := func(url string) *nats.Conn {
		nc, err := nats.Connect(url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		if known := nc.DiscoveredServers(); len(known) > 0 {
			t.Errorf("clients are told of %q", known)
		}
		return nc
	}
	// stream makes or updates TICKS with three replicas, and tells whether it has them.
	stream := func(js jetstream.JetStream, c jetstream.StreamConfig) func() bool {
		c.Name, c.Replicas, c.MaxMsgsPerSubject = subject.StreamTicks, 3, 1000
		return func() bool {
			s, err := js.CreateOrUpdateStream(t.Context(), c)
			if err != nil {
				return false
			}
			cluster := s.CachedInfo().Cluster
			return cluster != nil && cluster.Leader != "" && len(cluster.Replicas) == 2 && cluster.Replicas[0].Current && cluster.Replicas[1].Current
		}
	}
	last := func(js jetstream.JetStream) uint64 {
		s, err := js.Stream(t.Context(), subject.StreamTicks)
		if err != nil {
			return 0
		}
		return s.CachedInfo().State.LastSeq
	}
	pub := connect(homeURLs[0])
	atHome, err := jetstream.New(pub)
	if err != nil {
		t.Fatal(err)
	}
	atEU, err := jetstream.New(connect(euURLs[2]))
	if err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, patience, stream(atHome, jetstream.StreamConfig{Subjects: []string{subject.TicksAll}}), "three replicas of TICKS")
	natstest.Eventually(t, patience, stream(atEU, jetstream.StreamConfig{Mirror: &jetstream.StreamSource{Name: subject.StreamTicks, Domain: stack.Home}}),
		"three replicas of the mirror")

	probe := subject.Ticks("PROBE-USD")
	// Two routers at eu-a, one at eu-b, none at eu-c.
	var probes, came [3]atomic.Int64
	for i, url := range []string{euURLs[0], euURLs[0], euURLs[1]} {
		nc := connect(url)
		if _, err := nc.Subscribe(subject.TicksAll, func(m *nats.Msg) {
			if m.Subject == probe {
				probes[i].Add(1)
			} else {
				came[i].Add(1)
			}
		}); err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	natstest.Eventually(t, patience, func() bool {
		if err := pub.Publish(probe, []byte("probe")); err != nil {
			t.Fatal(err)
		}
		return probes[0].Load() > 0 && probes[1].Load() > 0 && probes[2].Load() > 0
	}, "ticks come to the region's routers")
	natstest.Eventually(t, patience, func() bool { n := last(atHome); return n > 0 && last(atEU) == n }, "ticks come to the mirror")

	counters := func() map[string]traffic {
		all := map[string]traffic{}
		for _, s := range home {
			for name, c := range links(t, s) {
				all[name] = c
			}
		}
		return all
	}
	const n = 5000
	before, began, stored := counters(), time.Now(), last(atHome)
	for i := range n {
		if err := pub.Publish(subject.Ticks(subject.Symbol(fmt.Sprint("S", i%10))), fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	natstest.Eventually(t, patience, func() bool {
		return last(atHome) == stored+n && last(atEU) == stored+n && came[0].Load() >= n && came[1].Load() >= n && came[2].Load() >= n
	}, "all ticks have come")
	after, took := counters(), time.Since(began)
	if len(after) != 3 {
		t.Errorf("links of %v, want one of each server", after)
	}
	for i := range came {
		if got := came[i].Load(); got != n {
			t.Errorf("%d ticks came to router %d, want %d", got, i, n)
		}
	}
	mirror, err := atEU.Stream(t.Context(), subject.StreamTicks)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range after {
		want := 0
		if !strings.HasSuffix(name, "-c") {
			want += n
		}
		if name == mirror.CachedInfo().Cluster.Leader {
			want += n
		}
		if got := c.minus(before[name]).OutMsgs; !around(int64(want), got, took) {
			t.Errorf("%d messages to %s, want %d; the mirror's leader is %s", got, name, want, mirror.CachedInfo().Cluster.Leader)
		}
	}
}
