package tickctl

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
)

type edges struct {
	regional `embed:""`
	JSON     bool `name:"json" help:"One JSON document, as the registry answers it."`
}

// Run lists the edges of a region by their leases.
func (e *edges) Run(ctx context.Context, s Streams) error {
	r, err := e.open(ctx)
	if err != nil {
		return err
	}
	defer r.close()
	var answer control.EdgesAnswer
	if err := r.ask(ctx, subject.EndpointEdges, &answer); err != nil {
		return err
	}
	if e.JSON {
		return writeJSON(s.Out, answer)
	}
	if len(answer.Edges) == 0 {
		return writeLines(s.Out, fmt.Sprintf("region %s has no edge", r.region))
	}
	return edgeColumns(&answer).write(s.Out)
}

// edgeColumns has a row for each edge.
func edgeColumns(answer *control.EdgesAnswer) *columns {
	c := &columns{names: []string{"EDGE", "ADDRESS", ">CONNECTIONS", ">CAPACITY", ">FULL", ">BUCKETS", ">SYMBOLS", "STATE", ">HEARD"}}
	for _, l := range answer.Edges {
		symbols := 0
		for _, b := range l.Buckets {
			symbols += b.Symbols
		}
		c.add(string(l.Edge), l.Address, fmt.Sprint(l.Connections), fmt.Sprint(l.Capacity), percent(l.Connections, l.Capacity),
			fmt.Sprint(len(l.Buckets)), fmt.Sprint(symbols), state(l), ms(heard(l, answer)).String())
	}
	return c
}

// state is whether an edge takes clients.
func state(l control.Lease) string {
	switch {
	case l.Draining:
		return "draining"
	case l.Drain:
		return "told to drain"
	case l.Capacity > 0 && l.Connections >= l.Capacity:
		return "full"
	}
	return "open"
}

// heard is how long before the answer registries heard the edge.
func heard(l control.Lease, answer *control.EdgesAnswer) time.Duration {
	return max(time.Duration(answer.Time-l.Renewed)*time.Microsecond, 0)
}

type buckets struct {
	regional `embed:""`
	JSON     bool `name:"json" help:"One JSON document, as the registry answers it."`
}

// Run lists the buckets of a region, by what KV has, and by their edges' leases.
func (b *buckets) Run(ctx context.Context, s Streams) error {
	r, err := b.open(ctx)
	if err != nil {
		return err
	}
	defer r.close()
	var wanted control.BucketsAnswer
	if err := r.ask(ctx, subject.EndpointBuckets, &wanted); err != nil {
		return err
	}
	if b.JSON {
		return writeJSON(s.Out, wanted)
	}
	if len(wanted.Buckets) == 0 {
		return writeLines(s.Out, fmt.Sprintf("region %s has no bucket that wants a symbol", r.region))
	}
	var leases control.EdgesAnswer
	if err := r.ask(ctx, subject.EndpointEdges, &leases); err != nil {
		return err
	}
	connections := map[subject.Bucket]string{}
	for _, l := range leases.Edges {
		for _, snap := range l.Buckets {
			connections[snap.Bucket] = fmt.Sprint(snap.Connections)
		}
	}
	c := &columns{names: []string{"BUCKET", ">CONNECTIONS", ">SYMBOLS", ">EVERY", ">CHANGES", "LEASE"}}
	for _, i := range wanted.Buckets {
		lease := "yes"
		if !i.Leased {
			lease = "no: its edge is dead"
		}
		c.add(string(i.Bucket), cmp.Or(connections[i.Bucket], "-"), fmt.Sprint(i.Symbols), fmt.Sprint(i.Every), fmt.Sprint(i.Number), lease)
	}
	return c.write(s.Out)
}
