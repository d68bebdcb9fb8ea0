package route

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/services/router/internal/peers"
)

// tier are the routers of a region, which hear all that the others say.
type tier struct {
	t       *testing.T
	copies  int
	now     time.Time
	routers []*bench
	wants   map[subject.Bucket]string
	turns   int
}

func newTier(t *testing.T, copies, buckets int) *tier {
	r := &tier{t: t, copies: copies, now: start, wants: map[subject.Bucket]string{}}
	for i := range buckets {
		r.wants[subject.Bucket(fmt.Sprintf("edge-abc12%d-%d", i/4, i%4))] = "BTC-USD ETH-USD*"
	}
	return r
}

// join starts a router, in the order in which a process does it.
func (r *tier) join(name string) *bench {
	b := newBenchOf(r.t, name, r.copies)
	b.now = r.now
	r.routers = append(r.routers, b)
	b.Say()
	r.hear()
	b.publishTick("BTC-USD", 1, 1)
	b.publishTick("ETH-USD", 1, 1)
	for name, text := range r.wants {
		b.want(name, 1, text)
	}
	b.Serve(r.now)
	r.hear()
	return b
}

// die is the end of a router that could say nothing.
func (r *tier) die(b *bench) {
	r.routers = slices.DeleteFunc(r.routers, func(o *bench) bool { return o == b })
}

// hear gives the beats that have been published to the other routers, and what those say to it.
func (r *tier) hear() {
	subj := subject.RouterBeat("local")
	for more := true; more; {
		more = false
		for _, from := range r.routers {
			var beats []message
			for _, m := range from.sent {
				if m.subject == subj {
					beats = append(beats, m)
				}
			}
			from.sent = slices.DeleteFunc(from.sent, func(m message) bool { return m.subject == subj })
			for _, m := range beats {
				more = true
				for _, to := range r.routers {
					to.PeerBeat(m.data, r.now) // its own, too
				}
			}
		}
	}
}

// pass lets time go by.
func (r *tier) pass(d time.Duration) {
	for end := r.now.Add(d); r.now.Before(end); {
		r.now = r.now.Add(TurnEvery)
		r.turns++
		for _, b := range r.routers {
			b.now = r.now
			b.Turn(r.now)
			if r.turns%sayEvery == 0 {
				b.Say()
			}
			b.Flush(r.now)
		}
		r.hear()
	}
}

// served is how many routers send a bucket a tick, and checks that what they send is right. Batches before it are forgotten.
func (r *tier) served(seq uint64) map[subject.Bucket]int {
	r.t.Helper()
	got := map[subject.Bucket]int{}
	r.now = r.now.Add(2 * window)
	for _, b := range r.routers {
		b.now = r.now.Add(-window)
		b.Flush(b.now)
		b.sent = nil
		b.publishTick("BTC-USD", 1, seq)
		b.publishTick("ETH-USD", 1, seq)
		b.now = r.now
		b.Flush(b.now)
		for name := range r.wants {
			batches := b.batches(name)
			if len(batches) == 0 {
				continue
			}
			got[name]++
			if len(batches) != 1 || len(batches[0].Items) != 2 {
				r.t.Fatalf("%s sends %s %d batches, %d ticks in the first", b.o.Instance, name, len(batches), len(batches[0].Items))
			}
		}
	}
	return got
}

func (r *tier) all(what string, got map[subject.Bucket]int, least, most int) {
	r.t.Helper()
	for name := range r.wants {
		if n := got[name]; n < least || n > most {
			r.t.Fatalf("%s: %s is served by %d routers, want %d to %d", what, name, n, least, most)
		}
	}
}

func TestSpread(t *testing.T) {
	for copies := 1; copies <= 2; copies++ {
		r := newTier(t, copies, 40)
		first := r.join("router-aaaaaa")
		r.pass(5 * time.Second)
		r.all("alone", r.served(2), 1, 1)
		second := r.join("router-bbbbbb")
		r.all("a second has come", r.served(3), 1, 2)
		r.pass(overlap + TurnEvery)
		r.all("the first has left to it what is its", r.served(4), copies, copies)
		third := r.join("router-cccccc")
		r.pass(overlap + TurnEvery)
		r.all("a third", r.served(5), copies, copies)
		if n := third.Stats().Routers.Load(); n != 3 {
			t.Errorf("the third knows of %d routers", n)
		}
		third.Leave()
		r.hear()
		r.all("it says that it leaves", r.served(6), copies, 3)
		r.die(third)
		r.all("it is gone", r.served(7), copies, 2)
		r.pass(peers.LiveFor + time.Second)
		r.all("later", r.served(8), copies, copies)
		r.die(first)
		r.all("the first is killed", r.served(9), copies-1, 1)
		r.pass(peers.LiveFor + TurnEvery)
		r.all("the second has seen it", r.served(10), 1, 1)
		if n := second.Stats().Served.Load(); n != 40 {
			t.Errorf("the last one serves %d of 40 buckets", n)
		}
	}
}

// A router that is cut off hears nobody, and does not take that for everybody's death.
func TestCutOffRouterTakesNothingOver(t *testing.T) {
	r := newTier(t, 1, 40)
	first, second := r.join("router-aaaaaa"), r.join("router-bbbbbb")
	r.pass(5 * time.Second)
	before := len(second.buckets)
	r.die(first) // as the second sees it
	second.deaf = true
	r.pass(time.Minute)
	second.deaf = false
	r.pass(peers.LiveFor / 2)
	if n := len(second.buckets); n != before {
		t.Errorf("it serves %d buckets, had %d", n, before)
	}
	r.pass(peers.LiveFor)
	if n := len(second.buckets); n != 40 {
		t.Errorf("it hears again, and not the other one: it serves %d of 40 buckets", n)
	}
}

// A router that takes a bucket over sends it all the newest at once, and begins to count its batches anew.
func TestTakeOver(t *testing.T) {
	r := newTier(t, 1, 40)
	first, second := r.join("router-aaaaaa"), r.join("router-bbbbbb")
	r.pass(5 * time.Second)
	mine := map[subject.Bucket]bool{}
	for name := range second.buckets {
		mine[name] = true
	}
	if len(mine) == 0 || len(mine) == 40 {
		t.Fatalf("the second has %d of 40 buckets", len(mine))
	}
	r.served(7)
	r.die(first)
	second.sent = nil
	r.pass(peers.LiveFor + TurnEvery)
	for name := range r.wants {
		batches := second.batches(name)
		if mine[name] {
			continue
		}
		if len(batches) != 1 || batches[0].Number != 1 || len(batches[0].Items) != 2 || batches[0].Interest[subject.Part("BTC-USD")] != 1 {
			t.Fatalf("%s: got %+v", name, batches)
		}
	}
	// It comes back, and goes again before the overlap is over: nothing has to be said anew.
	first = r.join("router-aaaaaa")
	r.pass(overlap / 2)
	first.Leave()
	r.hear()
	r.die(first)
	second.sent = nil
	r.pass(overlap)
	for name := range r.wants {
		for _, m := range second.batches(name) {
			if m.Number == 1 {
				t.Fatalf("%s was begun anew", name)
			}
		}
	}
}

// What another router's buckets want is known, but costs no tick anything, and a change of it sends nothing.
func TestOthersBuckets(t *testing.T) {
	r := newTier(t, 1, 40)
	first := r.join("router-aaaaaa")
	r.join("router-bbbbbb")
	r.pass(5 * time.Second)
	links := 0
	for _, l := range first.links {
		links += len(l)
	}
	if links != 2*len(first.buckets) {
		t.Errorf("%d links for %d buckets of 2 symbols", links, len(first.buckets))
	}
	for name := range r.wants {
		for _, b := range r.routers {
			b.sent = nil
			b.want(name, 2, "BTC-USD SOL-USD")
			b.Flush(r.now.Add(window))
			if _, served := b.buckets[name]; served != (len(b.batches(name)) > 0) {
				t.Fatalf("%s: served %t", name, served)
			}
		}
		for part := range subject.Parts {
			for _, b := range r.routers {
				b.Remove(name, part)
			}
		}
	}
	for _, b := range r.routers {
		if len(b.buckets)+len(b.links)+len(b.others) > 0 {
			t.Errorf("%d buckets, %d links are left", len(b.buckets), len(b.links))
		}
	}
}
