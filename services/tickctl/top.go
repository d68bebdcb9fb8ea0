package tickctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
)

type top struct {
	regional `embed:""`
	Ops      []string      `name:"ops" placeholder:"URL" help:"Ops port of an edge, e.g. http://localhost:9091; may be repeated."`
	Every    time.Duration `name:"interval" default:"2s" help:"Time between two looks."`
	Count    int           `name:"count" short:"n" placeholder:"N" help:"End after so many looks."`
	JSON     bool          `name:"json" help:"A line of JSON for each look."`
}

// Help is what kong shows beneath the flags.
func (*top) Help() string {
	return `Rates of ticks, writes and bytes are only in the metrics of an edge, so they need the ops port of each edge (9091, or what its --ops
says): give each by --ops. Without --ops it shows what the leases of a region tell by NATS: the connections of all edges, which they
renew every 3 seconds, and how those change.`
}

// look is what one round has found.
type look struct {
	At    int64  `json:"at"` // microseconds since 1970 UTC
	Edges []busy `json:"edges"`
}

// shortest is the least time that a rate of connections is of.
const shortest = time.Second

// noAnswer is the state of what was not told this time.
const noAnswer = "no answer"

// busy is what an edge does. Rates are of the time since the last look, by leases since the renewal before; in the first
// look there are none.
type busy struct {
	Edge        string `json:"edge"` // its id, or where its ops port is
	Connections int64  `json:"connections"`
	State       string `json:"state"` // of its lease; of an ops port "" or what is wrong

	Change    float64  `json:"change"`                   // of connections, a second
	Ticks     *float64 `json:"deliveries,omitempty"`     // ticks to clients, a second
	Writes    *float64 `json:"writes,omitempty"`         // a second
	Bytes     *float64 `json:"bytes,omitempty"`          // a second
	Conflated *float64 `json:"conflated,omitempty"`      // ticks, a second
	CPU       *float64 `json:"cpu_cores,omitempty"`      // of the process
	Memory    *int64   `json:"resident_bytes,omitempty"` // of the process
	Buckets   int64    `json:"buckets"`
}

// Run looks until ctx ends, which is no error.
func (t *top) Run(ctx context.Context, s Streams) error {
	if t.Every < 100*time.Millisecond {
		return fmt.Errorf("--interval %s: 100ms or more", t.Every)
	}
	err := t.run(ctx, s)
	if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		return nil
	}
	return err
}

func (t *top) run(ctx context.Context, s Streams) error {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	read := (&scraper{client: &http.Client{Timeout: t.Timeout, Transport: transport}, urls: t.Ops}).read
	if len(t.Ops) == 0 {
		r, err := t.open(ctx)
		if err != nil {
			return err
		}
		defer r.close()
		read = (&leaseReader{registry: r}).read
	}
	show := t.printer(s)
	again := time.NewTicker(t.Every)
	defer again.Stop()
	for n := 1; ; n++ {
		edges, err := read(ctx)
		if err != nil {
			return err
		}
		if err := show(look{At: time.Now().UnixMicro(), Edges: edges}); err != nil {
			return err
		}
		if n == t.Count {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// printer shows looks as the output wants them.
func (t *top) printer(s Streams) func(look) error {
	screen := newScreen(s.Out)
	return func(l look) error {
		if t.JSON {
			return writeJSON(s.Out, l)
		}
		lines := topColumns(l, len(t.Ops) > 0).lines()
		if screen != nil {
			return screen.draw(append([]string{time.UnixMicro(l.At).Format(clockForm), ""}, lines...))
		}
		return writeLines(s.Out, append(lines, "")...)
	}
}

func topColumns(l look, ops bool) *columns {
	if !ops {
		c := &columns{names: []string{"EDGE", ">CONNECTIONS", ">CHANGE/S", ">BUCKETS", "STATE"}}
		for _, e := range l.Edges {
			c.add(e.Edge, fmt.Sprint(e.Connections), fmt.Sprintf("%+.1f", e.Change), fmt.Sprint(e.Buckets), e.State)
		}
		return c
	}
	c := &columns{names: []string{"EDGE", ">CONNECTIONS", ">CHANGE/S", ">BUCKETS", ">TICKS/S", ">WRITES/S", ">BYTES/S", ">CONFLATED/S", ">CPU", ">MEMORY", "STATE"}}
	for _, e := range l.Edges {
		memory := "-"
		if e.Memory != nil {
			memory = size(float64(*e.Memory))
		}
		bytes, cpu := "-", "-"
		if e.Bytes != nil {
			bytes = size(*e.Bytes)
		}
		if e.CPU != nil {
			cpu = fmt.Sprintf("%.0f%%", *e.CPU*100)
		}
		c.add(e.Edge, fmt.Sprint(e.Connections), fmt.Sprintf("%+.1f", e.Change), fmt.Sprint(e.Buckets), rateText(e.Ticks), rateText(e.Writes), bytes,
			rateText(e.Conflated), cpu, memory, e.State)
	}
	return c
}

func rateText(r *float64) string {
	if r == nil {
		return "-"
	}
	return fmt.Sprintf("%.0f", *r)
}

// size is a number of bytes.
func size(n float64) string {
	for _, unit := range []string{"B", "KB", "MB"} {
		if n < 1024 {
			return fmt.Sprintf("%.3g %s", n, unit)
		}
		n /= 1024
	}
	return fmt.Sprintf("%.4g GB", n)
}

// leaseReader reads what edges tell the registry.
type leaseReader struct {
	registry   *registry
	last       map[subject.Edge]renewal
	shown      []busy // by the last answer
	unanswered int    // since then
}

// renewal is what an edge told when it last renewed its lease.
type renewal struct {
	at          int64 // microseconds since 1970 UTC, by the registry's clock
	connections int
	change      float64 // of connections, a second, since the one before
}

func (l *leaseReader) read(ctx context.Context) ([]busy, error) {
	var answer control.EdgesAnswer
	if err := l.registry.ask(ctx, subject.EndpointEdges, &answer); err != nil {
		if l.unanswered++; l.last == nil || l.unanswered == mostUnanswered || ctx.Err() != nil {
			return nil, err
		}
		all := slices.Clone(l.shown)
		for i := range all {
			all[i].State = noAnswer
		}
		return all, nil
	}
	l.unanswered = 0
	all, renewals := make([]busy, 0, len(answer.Edges)), map[subject.Edge]renewal{}
	for _, lease := range answer.Edges {
		now := renewal{at: lease.Renewed, connections: lease.Connections}
		switch before, ok := l.last[lease.Edge]; {
		case ok && now.at-before.at >= shortest.Microseconds(): // an edge may renew twice at a time
			now.change = float64(now.connections-before.connections) / (float64(now.at-before.at) / 1e6)
		case ok && heard(lease, &answer) > lateLease:
			now = renewal{at: before.at, connections: before.connections}
		case ok:
			now = before
		}
		renewals[lease.Edge] = now
		all = append(all, busy{Edge: string(lease.Edge), Connections: int64(lease.Connections), Buckets: int64(len(lease.Buckets)),
			State: state(lease), Change: now.change})
	}
	l.last, l.shown = renewals, all
	return all, nil
}

// scraper reads the metrics of edges.
type scraper struct {
	client *http.Client
	urls   []string
	last   []*sample
}

// sample is the metrics of an edge at one time, by name, each summed over its series.
type sample struct {
	at     time.Time
	values map[string]float64
}

// read shows an edge that does not answer as such, but that none does is an error.
func (s *scraper) read(ctx context.Context) ([]busy, error) {
	if s.last == nil {
		s.last = make([]*sample, len(s.urls))
	}
	all, faults := make([]busy, len(s.urls)), make([]error, len(s.urls))
	var reading sync.WaitGroup
	for i, url := range s.urls {
		reading.Go(func() {
			now, err := s.scrape(ctx, url)
			all[i], faults[i] = rates(s.last[i], now), err
			all[i].Edge = strings.TrimPrefix(strings.TrimPrefix(url, "https://"), "http://")
			if s.last[i] = now; err != nil {
				all[i].State = noAnswer
			}
		})
	}
	reading.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	for _, err := range faults {
		if err == nil {
			return all, nil
		}
	}
	return nil, faults[0]
}

// The metrics that rates are made of.
const (
	metricConnections = "tickfan_edge_connections"
	metricBuckets     = "tickfan_edge_buckets"
	metricDeliveries  = "tickfan_edge_deliveries_total"
	metricWrites      = "tickfan_edge_writes_total"
	metricWritten     = "tickfan_edge_written_bytes_total"
	metricConflated   = "tickfan_edge_conflated_total"
	metricCPU         = "process_cpu_seconds_total"
	metricMemory      = "process_resident_memory_bytes"
)

func rates(before, now *sample) (b busy) {
	if now == nil {
		return b
	}
	b.Connections, b.Buckets = int64(now.values[metricConnections]), int64(now.values[metricBuckets])
	if memory, ok := now.values[metricMemory]; ok {
		n := int64(memory)
		b.Memory = &n
	}
	if before == nil {
		return b
	}
	seconds := now.at.Sub(before.at).Seconds()
	b.Change = (now.values[metricConnections] - before.values[metricConnections]) / seconds
	rate := func(name string) *float64 {
		r := max(now.values[name]-before.values[name], 0) / seconds // a restarted edge counts anew
		return &r
	}
	b.Ticks, b.Writes, b.Bytes, b.Conflated = rate(metricDeliveries), rate(metricWrites), rate(metricWritten), rate(metricConflated)
	if _, ok := now.values[metricCPU]; ok {
		b.CPU = rate(metricCPU)
	}
	return b
}

// mostMetrics bounds what is read of a port that serves something else.
const mostMetrics = 8 << 20

func (s *scraper) scrape(ctx context.Context, url string) (*sample, error) {
	if !strings.Contains(url, "://") {
		url = "http://" + url
	}
	url = strings.TrimSuffix(strings.TrimSuffix(url, "/"), "/metrics") + "/metrics"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("--ops: %w", err)
	}
	answer, err := s.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w; is an edge's ops port there?", err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, mostMetrics))
	if err != nil {
		return nil, fmt.Errorf("read metrics of %s: %w", url, err)
	}
	values := parseMetrics(string(text))
	if _, ok := values[metricConnections]; answer.StatusCode != http.StatusOK || !ok {
		return nil, fmt.Errorf("%s has no metrics of an edge (%s); give the ops port of one", url, answer.Status)
	}
	return &sample{at: time.Now(), values: values}, nil
}
