package newest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/singleflight"

	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

const (
	// rangesAtOnce are asked for at a time; another waits for its turn for turnTime at most.
	rangesAtOnce = 16
	turnTime     = 2 * time.Second
	// rangeTime is how long one may take: 1,000 ticks that lie far apart in the stream were measured to take 2 s.
	rangeTime = 6 * time.Second
	// askTime is how long no router may answer at all: one that lives answers, or refuses, within a second.
	askTime = 2 * time.Second
	// askAgain is how long after a refusal the rest is asked for.
	askAgain = 100 * time.Millisecond
)

// ErrBusy says that too many ranges are asked for.
var ErrBusy = errors.New("too many ranges are being asked for")

// Ranges asks for ranges of ticks. Several who want the same one share the question.
type Ranges struct {
	nc     *nats.Conn
	region subject.Region
	turns  chan struct{}
	shared singleflight.Group
}

// NewRanges makes one that asks over nc.
func NewRanges(nc *nats.Conn, r subject.Region) *Ranges {
	return &Ranges{nc: nc, region: r, turns: make(chan struct{}, rangesAtOnce)}
}

// Answer is what there is of a range, in order, and why there is not more. It must not be changed.
type Answer struct {
	Ticks []tick.Tick
	Lack  tick.Lack // never tick.Refused
}

// Get gives what the history holds of g, which must be one that Check allows. An error, which may be ErrBusy, means that
// it is not known.
func (r *Ranges) Get(ctx context.Context, g tick.Range) (Answer, error) {
	// The others wait for this answer too: it does not end with the one who asked first.
	detached := context.WithoutCancel(ctx)
	got := r.shared.DoChan(fmt.Sprint(g), func() (any, error) { return r.get(detached, g) })
	select {
	case <-ctx.Done():
		return Answer{}, context.Cause(ctx)
	case a := <-got:
		if a.Err != nil {
			return Answer{}, fmt.Errorf("ask routers for a range: %w", a.Err)
		}
		return a.Val.(Answer), nil
	}
}

func (r *Ranges) get(ctx context.Context, g tick.Range) (Answer, error) {
	patience := time.NewTimer(turnTime)
	defer patience.Stop()
	select {
	case r.turns <- struct{}{}:
		defer func() { <-r.turns }()
	case <-patience.C:
		return Answer{}, ErrBusy
	}
	ctx, cancel := context.WithTimeout(ctx, rangeTime)
	defer cancel()
	var a Answer
	all, heard := g.Len(), time.Now()
	for {
		ticks, lack, err := r.ask(ctx, g)
		switch {
		case err == nil:
			heard = time.Now()
		case !errors.Is(err, nats.ErrNoResponders) || time.Since(heard) > askTime:
			return Answer{}, err
		}
		a.Ticks = append(a.Ticks, ticks...)
		if err == nil && lack != tick.Refused {
			if a.Lack = lack; lack == tick.Nothing && uint64(len(a.Ticks)) < all {
				a.Lack = tick.Gone // a router that knows no ranges, or what lacked before a refusal
			}
			return a, nil
		}
		if n := len(ticks); n > 0 && ticks[n-1].Seq < g.To { // the rest; what lacks before it is not asked for again
			g.From = ticks[n-1].Seq + 1
		}
		again := time.NewTimer(askAgain)
		select {
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return Answer{}, errors.Join(context.Cause(ctx), err)
		}
	}
}

// ask is one question; its last message tells what lacks.
func (r *Ranges) ask(ctx context.Context, g tick.Range) ([]tick.Tick, tick.Lack, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	inbox := nats.NewInbox()
	sub, err := r.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, tick.Refused, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	req := tick.NewestRequest{Range: g}
	if err := r.nc.PublishRequest(subject.RouterNewest(r.region), inbox, req.Append(nil)); err != nil {
		return nil, tick.Refused, err
	}
	var ticks []tick.Tick
	at := tick.Position{Epoch: g.Epoch, Seq: g.From - 1}
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return nil, tick.Refused, err
		}
		a, err := tick.DecodeNewestAnswer(m.Data)
		if err != nil {
			return nil, tick.Refused, err
		}
		for _, p := range a.Ticks {
			t, err := tick.Decode(p)
			if err != nil {
				return nil, tick.Refused, err
			}
			if t.Symbol == g.Symbol && g.Holds(t.Position) && t.After(at) {
				ticks, at = append(ticks, t), t.Position
			}
		}
		if a.Last {
			return ticks, a.Lack, nil
		}
	}
}
