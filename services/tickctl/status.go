package tickctl

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tickfan/tickfan/libs/conf"
	"github.com/tickfan/tickfan/proto/subject"
)

type status struct {
	NATS    []string      `name:"nats" sep:"none" default:"nats://127.0.0.1:4222" env:"TICKFAN_NATS" placeholder:"URL" help:"NATS servers of a region, comma-separated; once for each region. Default: nats://127.0.0.1:4222."`
	Timeout time.Duration `name:"timeout" default:"2s" help:"How long to wait for NATS and for the answer."`
	JSON    bool          `name:"json" help:"One JSON document."`
}

// Help is what kong shows beneath the flags.
func (*status) Help() string {
	return `Listens for one and a half seconds, or four where something is silent. INGEST is who stamps prices, which only the home region
knows; BEAT is how long ago its last sign of life came here, LAG how old it was at the region's routers when they last wrote to one of up
to eight buckets: up to 500ms is as it should be, from 3s on clients are told that prices are stale. Exit code 1: something is wrong, and
named, each thing on a line.`
}

// statusReport is the document of --json.
type statusReport struct {
	Regions  []*regionReport `json:"regions"`
	Problems []string        `json:"problems"`
}

// regionReport is what one region's NATS tells.
type regionReport struct {
	NATS        string          `json:"nats"`   // as it was given, without passwords
	Region      subject.Region  `json:"region"` // "" where nobody said
	Servers     []*serverReport `json:"servers"`
	JetStream   bool            `json:"jetstream"`
	Registries  []instance      `json:"registries"`
	Edges       int             `json:"edges"`       // this and the next four: -1 where no registry says
	Draining    int             `json:"draining"`    // of the edges
	Connections int             `json:"connections"` // of all edges
	Capacity    int             `json:"capacity"`    // connections that all edges take
	Buckets     int             `json:"buckets"`     // that want a symbol
	Routers     []routerReport  `json:"routers"`
	Home        bool            `json:"home"`   // prices are stamped here
	Leader      string          `json:"leader"` // who stamps; "" where the region does not know
	Epoch       uint64          `json:"epoch"`  // of the last beat; 0 without one
	BeatAgeMS   milliseconds    `json:"beat_age_ms"`
	LagMS       milliseconds    `json:"lag_ms"`        // age of the beat at the routers; -1 where no bucket was written to
	MirrorLag   uint64          `json:"mirror_lag"`    // ticks that the region's mirror of TICKS lacks; 0 at home
	MirrorAgeMS milliseconds    `json:"mirror_age_ms"` // since the mirror heard of home; -1 at home
	Problems    []string        `json:"problems"`
}

// serverReport is one nats-server that was named.
type serverReport struct {
	URL     string `json:"url"`
	Name    string `json:"name"`
	Version string `json:"version"` // "" where it did not answer
}

// routerReport is a router that was heard.
type routerReport struct {
	Instance string `json:"instance"`
	Ready    bool   `json:"ready"`
}

// Run looks at all regions at the same time.
func (c *status) Run(ctx context.Context, s Streams) error {
	report := statusReport{Problems: []string{}}
	var looking sync.WaitGroup
	for _, urls := range c.NATS {
		r := &regionReport{NATS: conf.Strike(urls), Servers: []*serverReport{}, Registries: []instance{}, Routers: []routerReport{}, Problems: []string{},
			Edges: unknown, Draining: unknown, Connections: unknown, Capacity: unknown, Buckets: unknown, BeatAgeMS: never, LagMS: never, MirrorAgeMS: never}
		report.Regions = append(report.Regions, r)
		looking.Go(func() { r.look(ctx, urls, c.Timeout) })
	}
	looking.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	report.compare()
	if err := c.show(s, &report); err != nil {
		return err
	}
	if len(report.Problems) > 0 {
		return problems(report.Problems)
	}
	return nil
}

// compare gathers the problems, and finds those that no region sees by itself.
func (r *statusReport) compare() {
	newest := &regionReport{}
	for _, region := range r.Regions {
		if region.Epoch > newest.Epoch {
			newest = region
		}
	}
	for _, region := range r.Regions {
		if region.Epoch > 0 && region.Epoch < newest.Epoch {
			region.wrong("hears epoch %d, and region %s epoch %d: look at the link to home", region.Epoch, newest.name(), newest.Epoch)
		}
		for _, p := range region.Problems {
			r.Problems = append(r.Problems, "region "+region.name()+": "+p)
		}
	}
}

func (r *regionReport) name() string { return cmp.Or(string(r.Region), "at "+r.NATS) }

func (r *regionReport) wrong(form string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(form, args...))
}

func (c *status) show(s Streams, report *statusReport) error {
	if c.JSON {
		return writeJSON(s.Out, report)
	}
	table := &columns{names: []string{"REGION", "NATS", ">REGISTRIES", ">EDGES", ">ROUTERS", ">BUCKETS", ">CONNECTIONS", ">FULL", "INGEST", ">EPOCH", ">BEAT", ">LAG"}}
	for _, r := range report.Regions {
		edges := number(r.Edges)
		if r.Draining > 0 {
			edges += fmt.Sprintf(" (%d draining)", r.Draining)
		}
		epoch := "-"
		if r.Epoch > 0 {
			epoch = fmt.Sprint(r.Epoch)
		}
		table.add(cmp.Or(string(r.Region), "?"), r.servers(), r.registries(), edges, r.routers(), number(r.Buckets),
			number(r.Connections), percent(r.Connections, r.Capacity), cmp.Or(r.Leader, "-"), epoch, r.BeatAgeMS.String(), r.LagMS.String())
	}
	return table.write(s.Out)
}

// reached tells whether a server of the region answers.
func (r *regionReport) reached() bool {
	return slices.ContainsFunc(r.Servers, func(s *serverReport) bool { return s.Version != "" })
}

func (r *regionReport) registries() string {
	if !r.reached() {
		return "-"
	}
	return fmt.Sprint(len(r.Registries))
}

// servers is how many of the named ones answer, and their versions.
func (r *regionReport) servers() string {
	answer := 0
	var versions []string
	for _, s := range r.Servers {
		if s.Version == "" {
			continue
		}
		answer++
		if len(versions) == 0 || versions[len(versions)-1] != s.Version {
			versions = append(versions, s.Version)
		}
	}
	switch {
	case answer == 0:
		return "not reachable"
	case len(r.Servers) == 1:
		return versions[0]
	}
	return fmt.Sprintf("%d of %d, %s", answer, len(r.Servers), strings.Join(versions, " "))
}

// routers is "-" where nobody was listened to.
func (r *regionReport) routers() string {
	if !r.reached() || r.Region == "" {
		return "-"
	}
	if ready := r.ready(); ready < len(r.Routers) {
		return fmt.Sprintf("%d (%d ready)", len(r.Routers), ready)
	}
	return fmt.Sprint(len(r.Routers))
}

// ready is how many routers serve buckets.
func (r *regionReport) ready() (n int) {
	for _, router := range r.Routers {
		if router.Ready {
			n++
		}
	}
	return n
}
