package router

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

// crowd are buckets that want every tick of a symbol, and what came to each.
type crowd struct {
	*world
	buckets []subject.Bucket
	seq     uint64 // last published

	mu  sync.Mutex
	got map[string]map[uint64]int // by subject: how often each seq came

	series map[[2]string]uint64 // by subject and router: number of the last batch
}

func newCrowd(t *testing.T, buckets int) *crowd {
	c := &crowd{world: newWorld(t), got: map[string]map[uint64]int{}, series: map[[2]string]uint64{}}
	c.makeTicks()
	c.makeInterest()
	for i := range buckets {
		b := subject.Bucket(fmt.Sprintf("edge-abc123-%d", i))
		c.buckets = append(c.buckets, b)
		c.got[subject.Fanout("local", b)] = map[uint64]int{}
		c.put(b, btcPart, value(1, control.Every, btc))
	}
	_, err := c.nc.Subscribe(subject.Fanout("local", "*"), func(m *nats.Msg) {
		var b tick.Batch
		if err := b.Decode(m.Data); err != nil {
			t.Errorf("batch: %v", err)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		series := [2]string{m.Subject, b.Router}
		if last := c.series[series]; b.Number != last+1 {
			t.Errorf("%s: batch %d of %s after %d", m.Subject, b.Number, b.Router, last)
		}
		c.series[series] = b.Number
		for _, it := range b.Items {
			if h, err := tick.DecodeHead(it); err == nil {
				c.got[m.Subject][h.Seq]++
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// publish sends ticks, one a millisecond, until done says so; the last one is seen by all buckets then.
func (c *crowd) publish(done func() bool) {
	c.t.Helper()
	next := time.NewTicker(time.Millisecond)
	defer next.Stop()
	for deadline := time.Now().Add(within); !done(); <-next.C {
		if time.Now().After(deadline) {
			c.t.Fatal("still not done")
		}
		c.seq++
		c.tick(btc, 1, c.seq)
	}
	natstest.Eventually(c.t, within, func() bool { least, _ := c.times(c.seq); return least > 0 }, "the last tick in each bucket")
}

// times is how often a tick came to a bucket, at least and at most.
func (c *crowd) times(seq uint64) (least, most int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	least = 1 << 30
	for _, got := range c.got {
		least, most = min(least, got[seq]), max(most, got[seq])
	}
	return least, most
}

// whole tells that no bucket misses a tick.
func (c *crowd) whole(from uint64) {
	c.t.Helper()
	for seq := from; seq <= c.seq; seq++ {
		if least, _ := c.times(seq); least == 0 {
			c.t.Errorf("tick %d of %d did not come to every bucket", seq, c.seq)
		}
	}
}

// settled publishes until each bucket gets a tick that many times.
func (c *crowd) settled(times int) {
	c.t.Helper()
	same := 0
	c.publish(func() bool {
		if c.seq > 50 {
			if least, most := c.times(c.seq - 50); least == times && most == times {
				same++
			} else {
				same = 0
			}
		}
		return same >= 100
	})
}

func after(d time.Duration) func() bool {
	end := time.Now().Add(d)
	return func() bool { return time.Now().After(end) }
}

// Routers come and go with a word: no bucket misses a tick, each is served by one in the end, and one that it comes back to
// begins a new series of batches.
func TestRoutersComeAndGo(t *testing.T) {
	c := newCrowd(t, 30)
	first := c.run().ready()
	c.settled(1)
	from := c.seq
	second := c.run().ready()
	c.publish(after(100 * time.Millisecond))
	if n := second.metric("tickfan_router_routers", ""); n != 2 {
		t.Errorf("the second knows of %v routers", n)
	}
	c.settled(1)
	if n := first.metric("tickfan_router_served_buckets", "") + second.metric("tickfan_router_served_buckets", ""); n != 30 {
		t.Errorf("30 buckets are served %v times", n)
	}
	stopped := make(chan struct{})
	go func() { second.stop(); close(stopped) }()
	c.publish(func() bool {
		select {
		case <-stopped:
			return true
		default:
			return false
		}
	})
	c.publish(after(100 * time.Millisecond))
	c.whole(from)
}

// A router that is lost without a word costs no bucket a tick when two serve each.
func TestLostRouterOfTwoCopies(t *testing.T) {
	c := newCrowd(t, 30)
	way := natstest.NewCable(t, c.server.URL())
	c.runOf(way.URL(), 2).ready()
	c.runOf(c.server.URL(), 2).ready()
	c.runOf(c.server.URL(), 2).ready()
	c.settled(2)
	from := c.seq
	way.Cut()
	c.publish(after(100 * time.Millisecond))
	c.settled(2)
	c.whole(from)
}
