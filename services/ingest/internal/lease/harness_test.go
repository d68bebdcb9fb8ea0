package lease

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/libs/ops"
	"github.com/tickfan/tickfan/proto/subject"
)

const patience = 30 * time.Second

// holder notes what the lease lets it do.
type holder struct {
	mu       sync.Mutex
	highest  uint64        // what Prepare finds
	gate     chan struct{} // Prepare waits for it, unless nil
	faults   int           // Prepare fails so often
	epoch    uint64        // 0 while not stamping
	epochs   []uint64
	until    time.Time
	prepares int
}

func (h *holder) Won() {}

func (h *holder) Prepare(ctx context.Context) (uint64, error) {
	h.mu.Lock()
	h.prepares++
	fail, gate, highest := h.prepares <= h.faults, h.gate, h.highest
	h.mu.Unlock()
	if fail {
		return 0, errors.New("TICKS cannot be read")
	}
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return highest, nil
}

func (h *holder) Begin(epoch uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.epoch = epoch
	h.epochs = append(h.epochs, epoch)
}

func (h *holder) Keep(until time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.until = until
}

func (h *holder) End() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.epoch = 0
}

func (h *holder) current() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.epoch
}

// terms is how many epochs began.
func (h *holder) terms() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.epochs)
}

func (h *holder) keptUntil() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.until
}

// clock is the time with jumps.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) jump(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

// contender is one ingest as far as the lease goes.
type contender struct {
	*Lease
	holder    *holder
	mux       *ops.Mux
	condition *ops.Condition
	conn      *nats.Conn
	clock     *clock
	stop      func() // and wait for the end
}

// contend runs a lease; ttl is 0 for the real one.
func contend(t *testing.T, srv *natstest.Server, name string, ttl time.Duration, h *holder) *contender {
	t.Helper()
	mux, err := ops.New(name)
	if err != nil {
		t.Fatal(err)
	}
	c := &contender{holder: h, mux: mux, condition: mux.Condition("lease"), conn: srv.Connect(t), clock: &clock{}}
	js, err := jetstream.New(c.conn)
	if err != nil {
		t.Fatal(err)
	}
	c.Lease = New(Options{
		JetStream: js, Instance: name, Replicas: 1, Holder: h, Condition: c.condition,
		Log: slog.New(slog.DiscardHandler), Now: c.clock.now, Ready: func() {},
		TTL: ttl, Every: 200 * time.Millisecond, Retry: 50 * time.Millisecond,
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	c.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%s: Run: %v", name, err)
		}
		if e := h.current(); e != 0 {
			t.Errorf("%s stamps in epoch %d after its end", name, e)
		}
		_ = mux.Close(context.Background())
	})
	t.Cleanup(c.stop)
	return c
}

// readyz is what it says of itself.
func (c *contender) readyz() string {
	w := httptest.NewRecorder()
	c.mux.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	return w.Body.String()
}

func (c *contender) begins(t *testing.T, terms int) uint64 {
	t.Helper()
	natstest.Eventually(t, patience, func() bool {
		return c.holder.terms() >= terms && c.holder.current() != 0 && c.condition.Err() == nil
	}, "epoch %d of %s begins", terms, c.o.Instance)
	return c.holder.current()
}

// bucket is LEADER as a bystander sees it.
func bucket(t *testing.T, srv *natstest.Server) jetstream.KeyValue {
	t.Helper()
	js, err := jetstream.New(srv.Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), subject.KVLeader)
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

func read[T any](t *testing.T, kv jetstream.KeyValue, key string) (v T, rev uint64, ok bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	e, err := kv.Get(ctx, key)
	if err != nil {
		return v, 0, false
	}
	if err := json.Unmarshal(e.Value(), &v); err != nil {
		t.Fatalf("%s is %q: %v", key, e.Value(), err)
	}
	return v, e.Revision(), true
}
