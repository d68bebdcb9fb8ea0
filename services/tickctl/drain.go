package tickctl

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
)

type drain struct {
	regional `embed:""`
	Edge     string `arg:"" help:"Id of the edge, as tickctl edges shows it, e.g. edge-ab12cd."`
	NoWait   bool   `name:"no-wait" help:"Only tell it."`
	Force    bool   `name:"force" help:"Even where no other edge takes clients, so that its own are cut off."`
	JSON     bool   `name:"json" help:"Lines of JSON."`
}

// lookEvery is how often the leases are read. An edge renews its own every 3 s, and at once when it begins to drain.
const lookEvery = time.Second

// mostUnanswered is after how many questions in a row without an answer nobody looks any more.
const mostUnanswered = 3

// drained is what is known of an edge that was told to drain.
type drained struct {
	Edge        subject.Edge `json:"edge"`
	Connections int          `json:"connections"`
	State       string       `json:"state"` // of its lease; at last "gone", or "died" when it did not end by itself
}

// Run tells an edge to send its clients to the others and stop, and shows how that goes until it is gone.
func (d *drain) Run(ctx context.Context, s Streams) error {
	edge, err := subject.ParseEdge(d.Edge)
	if err != nil {
		return fmt.Errorf("%w; tickctl edges lists them", err)
	}
	r, err := d.open(ctx)
	if err != nil {
		return err
	}
	defer r.close()
	if !d.Force {
		if err := others(ctx, r, edge); err != nil {
			return err
		}
	}
	var answer control.DrainAnswer
	if err := r.ask(ctx, subject.EndpointDrain+"."+string(edge), &answer); err != nil {
		return fmt.Errorf("drain %s: %w; tickctl edges lists them", edge, err)
	}
	if d.NoWait {
		return d.show(s, drained{Edge: edge, State: "told to drain"})
	}
	err = d.follow(ctx, s, r, edge)
	if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		return nil // it goes on without us
	}
	return err
}

// others sees that clients have somewhere to go.
func others(ctx context.Context, r *registry, edge subject.Edge) error {
	var answer control.EdgesAnswer
	if err := r.ask(ctx, subject.EndpointEdges, &answer); err != nil {
		return err
	}
	own := -1
	for _, l := range answer.Edges {
		switch {
		case l.Edge == edge && (l.Drain || l.Draining):
			return nil // it was told before
		case l.Edge == edge:
			own = l.Connections
		case state(l) == "open" && heard(l, &answer) <= lateLease:
			return nil
		}
	}
	if own <= 0 {
		return nil // there is nobody, or no such edge, which the registry says
	}
	return fmt.Errorf("no other edge takes clients, and the %s of %s would be cut off: start another one, or say --force", count(own, "connection"), edge)
}

func (d *drain) follow(ctx context.Context, s Streams, r *registry, edge subject.Edge) error {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	unanswered := 0
	for last, silence := (drained{}), time.Duration(0); ; {
		var answer control.EdgesAnswer
		if err := r.ask(ctx, subject.EndpointEdges, &answer); err != nil {
			if unanswered++; unanswered == mostUnanswered || ctx.Err() != nil {
				return fmt.Errorf("%w; the edge goes on draining", err)
			}
			if err := wait(ctx, look); err != nil {
				return err
			}
			continue
		}
		unanswered = 0
		now := drained{Edge: edge, State: "gone"}
		i := slices.IndexFunc(answer.Edges, func(l control.Lease) bool { return l.Edge == edge })
		switch {
		case i >= 0:
			now.Connections, now.State, silence = answer.Edges[i].Connections, state(answer.Edges[i]), heard(answer.Edges[i], &answer)
		case silence > lateLease: // who stops gives up his lease
			now.Connections, now.State = last.Connections, "died"
		}
		if now != last {
			if err := d.show(s, now); err != nil {
				return err
			}
		}
		switch last = now; {
		case now.State == "died":
			return fmt.Errorf("edge %s died while it drained, with %s at last: it was not heard for %s, and its lease ran out", edge, count(now.Connections, "connection"), short(silence))
		case i < 0:
			return nil
		}
		if err := wait(ctx, look); err != nil {
			return err
		}
	}
}

// wait is until the next look, or ctx's cause.
func wait(ctx context.Context, look *time.Ticker) error {
	select {
	case <-look.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (d *drain) show(s Streams, now drained) error {
	switch {
	case d.JSON:
		return writeJSON(s.Out, now)
	case now.State == "gone", now.State == "died":
		return writeLines(s.Out, fmt.Sprintf("%s  %s  %s", time.Now().Format(clockForm), now.Edge, now.State))
	case d.NoWait:
		return writeLines(s.Out, fmt.Sprintf("%s  %s  told to drain; it hears of it within 3s", time.Now().Format(clockForm), now.Edge))
	}
	return writeLines(s.Out, fmt.Sprintf("%s  %s  %s, %s", time.Now().Format(clockForm), now.Edge, count(now.Connections, "connection"), now.State))
}
