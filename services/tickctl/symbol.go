package tickctl

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

type symbol struct {
	regional `embed:""`
	Symbol   string        `arg:"" help:"Symbol, e.g. BTC-USD."`
	For      time.Duration `name:"for" default:"5s" help:"How long to count its ticks; 0s: not at all."`
	JSON     bool          `name:"json" help:"One JSON document."`
}

// symbolReport is what a region knows of a symbol.
type symbolReport struct {
	Symbol  subject.Symbol                  `json:"symbol"`
	Region  subject.Region                  `json:"region"`
	Buckets map[subject.Bucket]control.Flag `json:"buckets"`
	Newest  json.RawMessage                 `json:"newest"` // as decode shows it; null: it has no price
	AgeMS   milliseconds                    `json:"age_ms"` // of its newest tick since ingest stamped it, by this computer's clock; -1 without one
	Ticks   int                             `json:"ticks"`  // heard
	ForMS   milliseconds                    `json:"for_ms"` // within so long

	newest tick.Tick
}

// Run shows who wants a symbol, its newest tick and how often it changes.
func (c *symbol) Run(ctx context.Context, s Streams) error {
	name, err := subject.ParseSymbol(c.Symbol)
	if err != nil {
		return err
	}
	r, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer r.close()
	report := symbolReport{Symbol: name, Region: r.region, AgeMS: never}
	var answer control.SymbolAnswer
	if err := r.ask(ctx, subject.EndpointSymbol+"."+string(name), &answer); err != nil {
		return err
	}
	if report.Buckets = answer.Buckets; report.Buckets == nil {
		report.Buckets = map[subject.Bucket]control.Flag{}
	}
	if err := report.count(ctx, r, c.For); err != nil {
		return err
	}
	if err := report.ask(ctx, r); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.Out, report)
	}
	return writeLines(s.Out, report.lines()...)
}

// count listens to the symbol's ticks. Those that are published again are no change.
func (s *symbolReport) count(ctx context.Context, r *registry, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	ticks := make(chan *nats.Msg, 4096)
	sub, err := r.nc.ChanSubscribe(subject.Ticks(s.Symbol), ticks)
	if err == nil {
		err = r.nc.FlushTimeout(r.timeout)
	}
	if err != nil {
		return fmt.Errorf("listen to %s: %w", subject.Ticks(s.Symbol), err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	s.ForMS = ms(d)
	over := time.NewTimer(d)
	defer over.Stop()
	for {
		select {
		case msg := <-ticks:
			if head, err := tick.DecodeHead(msg.Data); err == nil && !head.Again {
				s.Ticks++
			}
		case <-over.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// ask has a router say which tick is the newest.
func (s *symbolReport) ask(ctx context.Context, r *registry) error {
	at := subject.RouterNewest(r.region)
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	msg, err := r.nc.RequestWithContext(ctx, at, (&tick.NewestRequest{Symbols: []subject.Symbol{s.Symbol}}).Append(nil))
	switch {
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no router answered on %s; is router or dev running, and ready?", at)
	case errors.Is(err, context.Canceled):
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("ask on %s: %w", at, err)
	}
	answer, err := tick.DecodeNewestAnswer(msg.Data)
	if err != nil {
		return fmt.Errorf("read answer on %s: %w", at, err)
	}
	for _, p := range answer.Ticks {
		if s.newest, err = tick.Decode(p); err != nil {
			return fmt.Errorf("read answer on %s: %w", at, err)
		}
		if s.Newest, err = tickJSON(p); err != nil {
			return fmt.Errorf("read answer on %s: %w", at, err)
		}
		s.AgeMS = ms(max(time.Since(time.UnixMicro(s.newest.At)), 0))
	}
	return nil
}

func (s *symbolReport) lines() []string {
	edges, every := map[subject.Edge]bool{}, 0
	for b, flag := range s.Buckets {
		edges[b.Edge()] = true
		if flag == control.Every {
			every++
		}
	}
	wanted := "by nobody"
	if len(s.Buckets) > 0 {
		wanted = fmt.Sprintf("by %s of %s, %d of them in mode every", count(len(s.Buckets), "bucket"), count(len(edges), "edge"), every)
	}
	lines := []string{
		fmt.Sprintf("symbol  %s in region %s", s.Symbol, s.Region),
		"wanted  " + wanted,
	}
	for _, b := range slices.Sorted(maps.Keys(s.Buckets)) {
		lines = append(lines, fmt.Sprintf("        %s  %s", b, s.Buckets[b]))
	}
	if s.Newest == nil {
		lines = append(lines, "newest  no price yet")
	} else {
		t := &s.newest
		lines = append(lines, fmt.Sprintf("newest  %s  bid %s  ask %s  epoch %d  seq %d  %s old", t.Price, cmp.Or(t.Bid.String(), "-"), cmp.Or(t.Ask.String(), "-"), t.Epoch, t.Seq, s.AgeMS))
	}
	if s.ForMS > 0 {
		lines = append(lines, fmt.Sprintf("rate    %s a second (%s in %s)", perSecond(s.Ticks, time.Duration(s.ForMS)*time.Millisecond), count(s.Ticks, "tick"), s.ForMS))
	}
	return lines
}

// perSecond is a rate, with a digit after the point.
func perSecond(n int, d time.Duration) string {
	if d <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", float64(n)/d.Seconds())
}
