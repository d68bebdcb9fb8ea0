package tickctl

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/tick"
)

func TestStatus(t *testing.T) {
	local := newRegion(t, "local")
	code, out, err := run(t, "", "status", "--nats", local.URL())
	if code != exitDone || err != "" {
		t.Errorf("code %d, err %q", code, err)
	}
	want := []string{
		`REGION  NATS +REGISTRIES  EDGES  ROUTERS  BUCKETS  CONNECTIONS  FULL  INGEST              EPOCH +BEAT +LAG`,
		`local   \d+\.\d+\.\d+ +1      2        1        2          300   15%  ingest-x7k2p9  1763769600 +\S+  120ms`,
		``,
	}
	got := strings.Split(out, "\n")
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || !regexp.MustCompile("^"+want[i]+"$").MatchString(got[i]) {
			t.Fatalf("line %d of\n%s", i+1, out)
		}
	}

	code, out, err = run(t, "", "status", "--json", "--nats", local.URL())
	var report statusReport
	if code != exitDone || err != "" || json.Unmarshal([]byte(out), &report) != nil || len(report.Regions) != 1 || len(report.Problems) != 0 {
		t.Fatalf("code %d, err %q, out %s", code, err, out)
	}
	r := report.Regions[0]
	if r.Region != "local" || !r.JetStream || !r.Home || r.Leader != "ingest-x7k2p9" || r.Epoch != epoch || r.LagMS != 120 || r.BeatAgeMS < 0 ||
		len(r.Servers) != 1 || r.Servers[0].Name != "nats-local" || r.Servers[0].Version == "" || len(r.Registries) != 1 || r.Registries[0].Version != "1.2.3" ||
		len(r.Routers) != 1 || r.Routers[0] != (routerReport{"router-x7k2p9", true}) || r.Capacity != 2000 {
		t.Errorf("%s", out)
	}
}

// Whatever is wrong is named in one line, with what to do, and the table is there all the same.
func TestStatusNamesWhatIsWrong(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*region)
		says   string
	}{
		"no edge":          {func(r *region) { r.edges = nil }, "no edge: start edge"},
		"all full":         {func(r *region) { r.edges[0].Connections, r.edges[1].Draining = 1000, true }, "no edge takes clients, each of 2 is full or drains"},
		"edge is silent":   {func(r *region) { r.edges[0].Renewed = time.Now().Add(-12 * time.Second).UnixMicro() }, "edge edge-a-ab12cd was last heard 1"},
		"dead edge":        {func(r *region) { r.buckets[1].Leased = false }, "1 bucket of dead edges"},
		"no router":        {func(r *region) { r.routers = nil }, "no router: start router"},
		"router not ready": {func(r *region) { r.routers[0].Ready = false }, "no router is ready"},
		"router is deaf":   {func(r *region) { r.age = tick.NoBeat }, "a router has never heard a beat"},
		"stale":            {func(r *region) { r.age = 4000 }, "prices are stale, routers last heard ingest 4s ago: start ingest"},
		"no ingest":        {func(r *region) { r.beat.Epoch = 0 }, "no beat of ingest within 4s: start ingest"},
		"two ingests":      {func(r *region) { r.rival = epoch - 5 }, "two ingests beat, in epochs 1763769595 and 1763769600: restart the older"},
		"silent bucket":    {func(r *region) { r.mute = bucketB }, "no router wrote to edge-b-ef34gh-0 within 4s, of 2 listened to"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			local := newRegion(t, "local")
			local.change(func() { test.change(local) })
			code, out, err := run(t, "", "status", "--nats", local.URL())
			if code != exitFault || !strings.HasPrefix(err, "tickctl: region local: "+test.says) || strings.Count(err, "\n") != 1 || strings.Contains(err, "; region") {
				t.Errorf("code %d, err %q", code, err)
			}
			if strings.Count(out, "\n") != 2 || !strings.Contains(out, "\nlocal ") {
				t.Errorf("out %q", out)
			}
			if name != "no edge" { // it is the same text
				return
			}
			var report statusReport
			_, out, _ = run(t, "", "status", "--json", "--nats", local.URL())
			if json.Unmarshal([]byte(out), &report) != nil || len(report.Problems) != 1 || !strings.Contains(report.Problems[0], test.says) {
				t.Errorf("JSON %s", out)
			}
		})
	}
}

// Regions are looked at side by side, and one that is away does not hide the others.
func TestStatusOfRegions(t *testing.T) {
	home, eu := newRegion(t, "home"), newRegion(t, "eu")
	eu.change(func() {
		eu.beat.Epoch = epoch - 10
		eu.routers = append(eu.routers, control.RouterBeat{Instance: "router-a", Ready: false}, control.RouterBeat{Instance: "router-b", Leaving: true})
	})
	away := natstest.Start(t)
	away.Stop()
	both := home.URL() + "," + away.URL()
	code, out, err := run(t, "", "status", "--nats", both, "--nats", eu.URL(), "--nats", away.URL(), "--timeout", "1s")
	if code != exitFault || strings.Count(err, "\n") != 3 {
		t.Errorf("code %d, err %q", code, err)
	}
	for _, says := range []string{
		"tickctl: region home: connect to NATS at " + away.URL() + ": no answer within 1s; is nats-server or dev running there?",
		"\ntickctl: region eu: hears epoch 1763769590, and region home epoch 1763769600: look at the link to home",
		"\ntickctl: region at " + away.URL() + ": connect to NATS at " + away.URL(),
	} {
		if !strings.Contains(err, says) {
			t.Errorf("err %q\nlacks %q", err, says)
		}
	}
	for _, row := range []string{`home +1 of 2, \S+ +1 +2 +1 `, `eu +\S+ +1 +2 +2 \(1 ready\) `, `\? +not reachable( +-){10}$`} {
		if !regexp.MustCompile("(?m)^" + row).MatchString(out) {
			t.Errorf("no row %s in\n%s", row, out)
		}
	}
}

func TestStatusWithoutServices(t *testing.T) {
	server := natstest.Start(t)
	code, out, err := run(t, "", "status", "--nats", server.URL(), "--timeout", "300ms")
	if !regexp.MustCompile(`(?m)^\? +\S+ +0( +-){9}$`).MatchString(out) {
		t.Errorf("out\n%s", out)
	}
	for _, says := range []string{"no registry answered at " + server.URL() + "; is registry or dev running", "no stream TICKS: start ingest", "no beat of ingest"} {
		if code != exitFault || !strings.Contains(err, says) {
			t.Errorf("code %d, err %q", code, err)
		}
	}
}

// A registry that hangs leaves unknown what only it knows.
func TestStatusOfHungRegistry(t *testing.T) {
	local := newRegion(t, "local")
	local.change(func() { local.deaf = [2]int{0, 1 << 30} })
	code, out, err := run(t, "", "status", "--nats", local.URL(), "--timeout", "400ms")
	if code != exitFault || strings.Count(err, "\n") != 1 || !strings.Contains(err, "region local: no registry answered on registry.local.edges") {
		t.Errorf("code %d, err %q", code, err)
	}
	if !regexp.MustCompile(`(?m)^local +\S+ +1 +- +1 +- +- +- +ingest-x7k2p9 `).MatchString(out) {
		t.Errorf("out\n%s", out)
	}
}

// Where servers are linked so that other regions' registries answer as well, the domain of JetStream says which one this is.
func TestStatusAmongOtherRegions(t *testing.T) {
	local := newRegion(t, "local")
	local.serve(t, "eu")
	code, out, err := run(t, "", "status", "--nats", local.URL())
	if code != exitDone || err != "" || !regexp.MustCompile(`(?m)^local +\S+ +1 +2 +1 `).MatchString(out) {
		t.Errorf("code %d, err %q, out\n%s", code, err, out)
	}
}

// What the server says of the mirror in a region that is not home.
func TestStatusOfMirror(t *testing.T) {
	for says, m := range map[string]*jetstream.StreamSourceInfo{
		"":                                     {Lag: 3, Active: 2 * time.Second},
		"has not heard of home: look":          {Active: -1}, // which is what a server says that has no link
		"last heard of home 40s ago: look at ": {Active: 40 * time.Second},
	} {
		r := &regionReport{MirrorAgeMS: never}
		r.mirrored(m)
		if said := strings.Join(r.Problems, "; "); (says == "") != (said == "") || !strings.Contains(said, says) || r.MirrorLag != m.Lag {
			t.Errorf("%+v: %q", m, said)
		}
	}
	r := &regionReport{MirrorAgeMS: never}
	if r.mirrored(nil); len(r.Problems) != 1 {
		t.Errorf("%q", r.Problems)
	}
}
