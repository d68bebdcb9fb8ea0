package e2e

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/proto/subject"
)

// region follows what the registry writes, as long as nats-server lives.
type region struct {
	mu   sync.Mutex
	keys map[string]map[string]bool // by store
}

func newRegion(t *testing.T, nc *nats.Conn) *region {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	r := &region{keys: map[string]map[string]bool{subject.KVEdges: {}, subject.KVInterest: {}}}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		all.Wait()
	})
	for _, store := range []string{subject.KVEdges, subject.KVInterest} {
		kv, err := js.KeyValue(ctx, store)
		if err != nil {
			t.Fatalf("open %s: %v", store, err)
		}
		w, err := kv.WatchAll(ctx)
		if err != nil {
			t.Fatalf("watch %s: %v", store, err)
		}
		all.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case e, ok := <-w.Updates():
					if !ok {
						return
					}
					r.take(store, e)
				}
			}
		})
	}
	return r
}

func (r *region) take(store string, e jetstream.KeyValueEntry) {
	if e == nil { // the end of what was there before
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.Operation() == jetstream.KeyValuePut {
		r.keys[store][e.Key()] = true
	} else {
		delete(r.keys[store], e.Key())
	}
}

// edges are the ids of edges with a lease that begin so.
func (r *region) edges(prefix string) (ids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k := range r.keys[subject.KVEdges] {
		if strings.HasPrefix(k, prefix) {
			ids = append(ids, k)
		}
	}
	return ids
}

// interest is the buckets with interest of edges whose id begins so.
func (r *region) interest(prefix string) map[subject.Bucket]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	buckets := map[subject.Bucket]bool{}
	for k := range r.keys[subject.KVInterest] {
		if b, _, ok := subject.ParseInterestKey(k); ok && strings.HasPrefix(k, prefix) {
			buckets[b] = true
		}
	}
	return buckets
}
