package sim

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// client is what one wants.
type client [eachClient]symbol

// crowd is the clients of a region. Its methods but settle belong to one goroutine.
type crowd struct {
	m       *market
	buckets []*bucket
	dice    *rand.Rand
	changes atomic.Int64 // of a client's wish for a symbol
}

// settle puts as many clients as it takes into each bucket.
func (c *crowd) settle(now int64) {
	var g errgroup.Group
	g.SetLimit(4)
	for i, b := range c.buckets {
		seed := uint64(i)
		g.Go(func() error {
			dice := rand.New(rand.NewPCG(seed, 4))
			b.mu.Lock()
			defer b.mu.Unlock()
			b.clients = make([]client, clients)
			for k := range b.clients {
				c.m.wishes(dice, b.clients[k][:])
				for _, s := range b.clients[k] {
					b.interest.add(s, now)
				}
			}
			return nil
		})
	}
	_ = g.Wait() // nothing fails
}

// some is any of the buckets.
func (c *crowd) some() *bucket { return c.buckets[c.dice.IntN(len(c.buckets))] }

// change has a client want another symbol in the place of one.
func (c *crowd) change(now int64) {
	b := c.some()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.clients) == 0 {
		return
	}
	k, i := c.dice.IntN(len(b.clients)), c.dice.IntN(eachClient)
	s := c.m.other(c.dice, b.clients[k][:])
	b.interest.remove(b.clients[k][i], now)
	b.clients[k][i] = s
	b.interest.add(s, now)
	c.changes.Add(2)
	b.syncLocked(now)
}

// move has a client leave its bucket and come to another.
func (c *crowd) move(now int64) {
	from, to := c.some(), c.some()
	for to == from && len(c.buckets) > 1 {
		to = c.some()
	}
	one, ok := from.leave(c.dice, now)
	if !ok {
		return
	}
	to.mu.Lock()
	defer to.mu.Unlock()
	to.clients = append(to.clients, one)
	for _, s := range one {
		to.interest.add(s, now)
	}
	c.changes.Add(2 * eachClient)
	to.syncLocked(now)
}

func (b *bucket) leave(dice *rand.Rand, now int64) (one client, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	last := len(b.clients) - 1
	if last < 0 {
		return one, false
	}
	k := dice.IntN(last + 1)
	one = b.clients[k]
	b.clients[k] = b.clients[last]
	b.clients = b.clients[:last]
	for _, s := range one {
		b.interest.remove(s, now)
	}
	b.syncLocked(now)
	return one, true
}

// bucket is one of an edge's. Its methods that end in Locked need mu.
type bucket struct {
	edge  *edge
	at    int // among the edge's
	name  bucketName
	mu    sync.Mutex
	batch batchReader

	clients  []client
	interest interest
	last     [marketSymbols]uint32 // seq of the newest tick that came
}
