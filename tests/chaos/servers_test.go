package chaos

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/libs/natstest"
	tickfan "github.com/tickfan/tickfan/libs/sdk/go"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/tests/stack"
)

// part does something to a server's ways to the others, not to those of its own clients.
//
// An ingest on the smaller side goes on until it hears of a higher epoch, by design: a dead JetStream stops no price. What
// it accepts after another took over reaches nobody on the other side, and nobody there can know of it. So that alone is
// forgiven; within an epoch all must be told as ever.
func part(do func(*natstest.Cable)) func(*world) func() {
	return func(w *world) func() {
		before := w.positions()
		s := pick(w, w.Servers)
		for _, c := range s.Routes {
			do(c)
		}
		return func() {
			for _, c := range s.Routes {
				c.Mend()
			}
			w.await("one ingest stamps", func() bool { return w.leaders() == 1 })
			w.forgive(before)
		}
	}
}

func (w *world) positions() map[*published]tickfan.Position {
	all := map[*published]tickfan.Position{}
	for _, k := range append(w.quietOnes(), w.publisher.symbols...) {
		all[k] = k.newest().Position
	}
	return all
}

// forgive forgets what was accepted since then by leaders before the last.
func (w *world) forgive(since map[*published]tickfan.Position) {
	var last uint64
	for _, k := range w.publisher.symbols {
		last = max(last, k.newest().Epoch)
	}
	for _, k := range append(w.quietOnes(), w.publisher.symbols...) {
		k.mu.Lock()
		kept := k.accepted[:0]
		for _, a := range k.accepted {
			if a.Epoch >= last || !a.After(since[k]) {
				kept = append(kept, a)
			}
		}
		k.accepted = kept
		k.mu.Unlock()
	}
}

func (w *world) leaders() (n int) {
	for _, i := range w.Ingests {
		if leads(i) {
			n++
		}
	}
	return n
}

// fillLeader and fillAll leave no room for streams. The server does not come back to JetStream by itself.
func (w *world) fillLeader() func() {
	n := w.leader("TICKS")
	if n == nil {
		n = pick(w, w.Servers)
	}
	return w.fill(n)
}

func (w *world) fillAll() func() { return w.fill(w.Servers...) }

func (w *world) fill(servers ...*stack.NATS) func() {
	if err := servers[0].Disk(); err != nil {
		w.t.Logf("%-42s left out: %v", "a full disk is", err)
		return func() {}
	}
	for _, n := range servers {
		n.FillDisk()
	}
	return func() {
		for _, n := range servers {
			n.FreeDisk()
			n.Stop(syscall.SIGTERM)
			n.Start()
		}
	}
}

// forgotten stops an edge while no router can hear that its interest goes. They must find out when they are back.
func (w *world) forgotten() func() {
	mend := cables((*world).routers, (*natstest.Cable).Cut)(w)
	n := pick(w, w.Edges)
	w.stop(n)
	mend()
	w.await("routers forget the interest of an edge that went while they were cut off", func() bool {
		want := w.wanting()
		for _, r := range w.Routers {
			if want == 0 || int(r.Metric("tickfan_router_interest_buckets")) != want {
				return false
			}
		}
		return true
	})
	return func() { n.Start(); n.AwaitReady() }
}

// wanting is how many buckets have interest in KV, 0 when that cannot be said.
func (w *world) wanting() int {
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Second)
	defer cancel()
	js, err := jetstream.New(w.publisher.nc)
	if err != nil {
		return 0
	}
	kv, err := js.KeyValue(ctx, subject.KVInterest)
	if err != nil {
		return 0
	}
	keys, err := kv.Keys(ctx)
	if err != nil {
		return 0
	}
	buckets := map[subject.Bucket]bool{}
	for _, k := range keys {
		if b, _, ok := subject.ParseInterestKey(k); ok {
			buckets[b] = true
		}
	}
	return len(buckets)
}

// oldTick has a tick come once more after newer ones, as a leader does that was paused in the middle of sending. Nothing may
// go by it. Nobody wants the symbol, so that the edges ask the routers.
func (w *world) oldTick() func() {
	k := w.unheardOf()
	sub, err := w.publisher.nc.SubscribeSync(subject.Ticks(subject.Symbol(k.symbol)))
	if err != nil {
		w.t.Fatalf("listen to ticks: %v", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	w.publisher.one(k)
	m, err := sub.NextMsg(well)
	if err != nil {
		w.t.Fatalf("listen to ticks: %v", err)
	}
	w.publisher.one(k)
	newest := k.newest()
	if err := w.publisher.nc.Publish(m.Subject, m.Data); err != nil {
		w.t.Fatalf("publish an old tick: %v", err)
	}
	w.between(200*time.Millisecond, 400*time.Millisecond)
	for _, e := range slices.Concat(w.Edges, w.far.Edges) {
		status, body, err := stack.Get(e.URL() + "/v1/ticks/" + k.symbol)
		if want := fmt.Sprintf(`"price":%q`, price(newest.number)); err == nil && status == http.StatusOK && !strings.Contains(body, want) {
			w.violated("%s tells an old tick: %s, newest is %s at %+v", e.Name(), body, price(newest.number), newest.Position)
		}
	}
	return func() {}
}

// asksFar tells whether the far region knows a price of a symbol.
func (w *world) asksFar(symbol string) bool {
	status, _, err := stack.Get(fmt.Sprintf("%s/v1/ticks/%s", w.far.Edges[0].URL(), symbol))
	return err == nil && status == http.StatusOK
}
