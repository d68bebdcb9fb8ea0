package newest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

const (
	// keep is how long an answer is used, and how long to wait for one.
	keep = 2 * time.Second
	// keepFault is how long it is taken for granted that no router answers.
	keepFault = time.Second
)

// Cache holds the newest ticks of a region's symbols.
type Cache struct {
	nc     *nats.Conn
	region subject.Region

	mu    sync.Mutex // held while asking: who comes meanwhile gets the same answer, or the same fault
	ticks map[subject.Symbol]tick.Tick
	err   error
	until time.Time // they are used so long
}

// New makes a cache that asks over nc.
func New(nc *nats.Conn, r subject.Region) *Cache { return &Cache{nc: nc, region: r} }

// All gives the newest tick of every symbol that has one, at most two seconds old. The map must not be changed.
func (c *Cache) All(ctx context.Context) (map[subject.Symbol]tick.Tick, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Now().Before(c.until) {
		return c.ticks, c.err
	}
	// Others wait for this answer too: it does not end with the one who asked first.
	if c.ticks, c.err = c.ask(context.WithoutCancel(ctx)); c.err != nil {
		c.err = fmt.Errorf("ask routers for newest ticks: %w", c.err)
		c.until = time.Now().Add(keepFault)
	} else {
		c.until = time.Now().Add(keep)
	}
	return c.ticks, c.err
}

func (c *Cache) ask(ctx context.Context) (map[subject.Symbol]tick.Tick, error) {
	ctx, cancel := context.WithTimeout(ctx, keep)
	defer cancel()
	inbox := nats.NewInbox()
	sub, err := c.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	var req tick.NewestRequest
	if err := c.nc.PublishRequest(subject.RouterNewest(c.region), inbox, req.Append(nil)); err != nil {
		return nil, err
	}
	ticks := map[subject.Symbol]tick.Tick{}
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return nil, err
		}
		a, err := tick.DecodeNewestAnswer(m.Data)
		if err != nil {
			return nil, err
		}
		for _, p := range a.Ticks {
			t, err := tick.Decode(p)
			if err != nil {
				return nil, err
			}
			ticks[t.Symbol] = t
		}
		if a.Last {
			return ticks, nil
		}
	}
}
