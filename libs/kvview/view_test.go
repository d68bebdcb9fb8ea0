package kvview_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/tickfan/tickfan/libs/bus"
	"github.com/tickfan/tickfan/libs/kvview"
	"github.com/tickfan/tickfan/libs/natsd"
	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/libs/ops"
)

const (
	store = "PETS"
	soon  = 20 * time.Second
)

// bench is a server, a view of a store on it, and what the view's changes add up to.
type bench struct {
	t      *testing.T
	server *natstest.Server
	nc     *nats.Conn // of the test, not of the view
	js     jetstream.JetStream
	view   *kvview.View[string, string]
	reader *sdkmetric.ManualReader
	meter  metric.Meter
	met    *ops.Condition

	mu   sync.Mutex
	told map[string]string
	lost []string
}

func start(t *testing.T) *bench { return startWith(t, natstest.Start(t)) }

func startWith(t *testing.T, s *natstest.Server) *bench {
	nc := s.Connect(t)
	js, err := bus.JetStream(t.Context(), nc)
	if err != nil {
		t.Fatal(err)
	}
	reader := sdkmetric.NewManualReader()
	return &bench{
		t: t, server: s, nc: nc, js: js, reader: reader,
		meter: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter("test"),
		told:  map[string]string{},
	}
}

func (b *bench) create() jetstream.KeyValue {
	b.t.Helper()
	return natstest.Made(b.t, func() (jetstream.KeyValue, error) {
		return b.js.CreateKeyValue(b.t.Context(), jetstream.KeyValueConfig{
			Bucket: store, History: 1, LimitMarkerTTL: time.Second, Storage: jetstream.FileStorage,
		})
	})
}

// open opens the view on a connection of its own.
func (b *bench) open(confirm time.Duration) {
	b.t.Helper()
	var view *kvview.View[string, string]
	var mu sync.Mutex
	nc, err := bus.Connect(b.t.Context(), bus.Options{
		URL: b.server.URL(), Name: "view", Log: slog.New(slog.DiscardHandler),
		OnReconnect: func() {
			mu.Lock()
			defer mu.Unlock()
			view.Reconnected()
		},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		b.t.Fatal(err)
	}
	mu.Lock()
	view, err = kvview.Open(b.t.Context(), b.options(js, confirm))
	mu.Unlock()
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(view.Close)
	b.view = view
}

// losesOnly: of all that went, this was lost with its store.
func (b *bench) losesOnly(lost ...string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Equal(b.lost, lost) {
		b.t.Errorf("lost %q, want %q", b.lost, lost)
	}
}

func (b *bench) options(js jetstream.JetStream, confirm time.Duration) kvview.Options[string, string] {
	return kvview.Options[string, string]{
		JS:    js,
		Store: store,
		Key: func(key string) (string, error) {
			if key == "no-key" {
				return "", errors.New("no key")
			}
			return key, nil
		},
		Value: func(_ string, value []byte) (string, error) {
			if string(value) == "bad" {
				return "", errors.New("bad value")
			}
			return string(value), nil
		},
		OnChange: b.onChange,
		Confirm:  confirm,
		Log:      slog.New(slog.DiscardHandler),
		Meter:    b.meter,

		Condition: b.met,
	}
}

// The condition of a view that cannot be confirmed is lost after a while, and says why.
func TestCondition(t *testing.T) {
	t.Parallel() // it takes as long as ops.Grace
	mux, err := ops.New("test")
	if err != nil {
		t.Fatal(err)
	}
	defer mux.Close(context.Background())
	b := start(t)
	b.met = mux.Condition("test.view")
	b.create()
	b.open(time.Second)
	if err := b.met.Err(); err != nil {
		t.Errorf("open: %v", err)
	}
	if err := b.js.DeleteKeyValue(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, 2*soon, func() bool { return b.met.Err() != nil }, "lost")
	if err := b.met.Err(); !strings.Contains(err.Error(), "find store PETS") {
		t.Errorf("it says %v", err)
	}
	b.create()
	natstest.Eventually(t, soon, func() bool { return b.met.Err() == nil }, "met again")
}

func (b *bench) onChange(c kvview.Change[string, string]) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.Gone {
		delete(b.told, c.Key)
		if c.Lost {
			b.lost = append(b.lost, c.Key)
		}
	} else {
		b.told[c.Key] = c.Value
	}
}

// shows says whether both the view and its changes came to exactly want.
func (b *bench) shows(want map[string]string) bool {
	have := map[string]string{}
	for k, e := range b.view.All() {
		have[k] = e.Value
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Equal(have, want) && maps.Equal(b.told, want)
}

func (b *bench) converges(want map[string]string) {
	b.t.Helper()
	natstest.Eventually(b.t, soon, func() bool { return b.shows(want) }, "the view shows %v", want)
}

func (b *bench) put(kv jetstream.KeyValue, key, value string) {
	b.t.Helper()
	if _, err := kv.PutString(b.t.Context(), key, value); err != nil {
		b.t.Fatal(err)
	}
}

// count is the sum of a counter over its attributes.
func (b *bench) count(name string) int64 {
	b.t.Helper()
	var all metricdata.ResourceMetrics
	if err := b.reader.Collect(b.t.Context(), &all); err != nil {
		b.t.Fatal(err)
	}
	total := int64(0)
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if sum, ok := m.Data.(metricdata.Sum[int64]); ok && m.Name == name {
				for _, p := range sum.DataPoints {
					total += p.Value
				}
			}
		}
	}
	return total
}

func (b *bench) confirmed(n int64) {
	b.t.Helper()
	natstest.Eventually(b.t, soon, func() bool { return b.count("tickfan.pets.confirmations") >= n }, "%d confirmations", n)
}

func TestSnapshotAndChanges(t *testing.T) {
	b := start(t)
	kv := b.create()
	want := map[string]string{}
	for i := range 1000 {
		k, v := fmt.Sprintf("k%d", i), fmt.Sprint(i)
		b.put(kv, k, v)
		want[k] = v
	}
	if err := kv.Delete(t.Context(), "k7"); err != nil {
		t.Fatal(err)
	}
	delete(want, "k7")

	b.open(time.Minute)
	if !b.shows(want) {
		t.Fatal("the first snapshot is not complete when Open returns")
	}
	b.put(kv, "new", "1")
	b.put(kv, "k0", "changed")
	if err := kv.Delete(t.Context(), "k1"); err != nil {
		t.Fatal(err)
	}
	if err := kv.Purge(t.Context(), "k2"); err != nil {
		t.Fatal(err)
	}
	want["new"], want["k0"] = "1", "changed"
	delete(want, "k1")
	delete(want, "k2")
	b.converges(want)

	e, ok := b.view.Get("k0")
	kve, err := kv.Get(t.Context(), "k0")
	if err != nil || !ok || e.Revision != kve.Revision() {
		t.Errorf("k0 has revision %d, %v; the store says %v, %v", e.Revision, ok, kve, err)
	}
}

// said is a log that tells when it was first written to.
type said struct {
	once sync.Once
	c    chan struct{}
}

func (s *said) Write(p []byte) (int, error) {
	s.once.Do(func() { close(s.c) })
	return len(p), nil
}

func TestOpenWaitsForStore(t *testing.T) {
	b := start(t)
	waits := &said{c: make(chan struct{})}
	o := b.options(b.js, time.Minute)
	o.Log = slog.New(slog.NewTextHandler(waits, nil))
	type result struct {
		view *kvview.View[string, string]
		err  error
	}
	opened := make(chan result, 1)
	go func() {
		view, err := kvview.Open(t.Context(), o)
		opened <- result{view, err}
	}()
	<-waits.c
	select {
	case <-opened:
		t.Fatal("opened without a store")
	default:
	}
	b.put(b.create(), "k", "v")
	r := <-opened
	if r.err != nil {
		t.Fatal(r.err)
	}
	t.Cleanup(r.view.Close)
	b.view = r.view
	b.converges(map[string]string{"k": "v"})
}

func TestOpenEndsWithContext(t *testing.T) {
	b := start(t)
	cause := errors.New("told to stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if _, err := kvview.Open(ctx, b.options(b.js, time.Minute)); !errors.Is(err, cause) {
		t.Errorf("error %v, want %v", err, cause)
	}
}

// A key whose time is up is ended by a marker of the server's, which itself has a time. After
// that the stream's last sequence belongs to no message.
func TestExpiry(t *testing.T) {
	b := start(t)
	kv := b.create()
	b.put(kv, "stays", "1")
	b.open(time.Minute)
	if _, err := kv.Create(t.Context(), "goes", []byte("2"), jetstream.KeyTTL(time.Second)); err != nil {
		t.Fatal(err)
	}
	b.converges(map[string]string{"stays": "1", "goes": "2"})
	b.converges(map[string]string{"stays": "1"})

	stream, err := b.js.Stream(t.Context(), "KV_"+store)
	if err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, soon, func() bool {
		info, err := stream.Info(t.Context())
		return err == nil && info.State.Msgs == 1
	}, "the marker is gone too")
	b.view.Reconnected()
	b.confirmed(2)
	b.open(time.Minute) // must not wait for the message that is gone
	b.converges(map[string]string{"stays": "1"})
}

func TestStoreMadeAgain(t *testing.T) {
	b := start(t)
	kv := b.create()
	b.put(kv, "both", "1")
	b.put(kv, "old", "1")
	b.open(time.Second)
	if err := b.js.DeleteKeyValue(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	kv = b.create()
	b.put(kv, "both", "1")
	b.put(kv, "new", "2")
	b.converges(map[string]string{"both": "1", "new": "2"})
	if n := b.count("tickfan.pets.ghosts"); n != 1 {
		t.Errorf("%d ghosts, want 1 (old)", n)
	}
	b.losesOnly("old")
	b.put(kv, "new", "3")
	b.converges(map[string]string{"both": "1", "new": "3"})
}

// A store that is put back to an older copy has lost what was written since.
func TestStorePutBack(t *testing.T) {
	dir, kept := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	b := startWith(t, natstest.StartWith(t, natsd.Options{JetStream: true, StoreDir: dir}))
	kv := b.create()
	b.put(kv, "early", "1")
	b.server.Stop()
	if err := os.CopyFS(kept, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	b.server.Restart()
	natstest.Eventually(t, soon, func() bool {
		_, err := kv.PutString(t.Context(), "late", "1")
		return err == nil
	}, "the store can be written again")
	b.open(time.Second)
	b.converges(map[string]string{"early": "1", "late": "1"})
	b.server.Stop()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS(kept)); err != nil {
		t.Fatal(err)
	}
	b.server.Restart()
	b.converges(map[string]string{"early": "1"})
	b.losesOnly("late")
	b.put(kv, "late", "2") // at the revision that it had
	b.converges(map[string]string{"early": "1", "late": "2"})
}

// While there is no store, the view shows what it knew.
func TestStoreAway(t *testing.T) {
	b := start(t)
	b.put(b.create(), "k", "1")
	b.open(300 * time.Millisecond)
	if err := b.js.DeleteKeyValue(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	confirmations := b.count("tickfan.pets.confirmations")
	if !b.shows(map[string]string{"k": "1"}) {
		t.Error("the view was emptied")
	}
	b.create()
	b.confirmed(confirmations + 1)
	b.converges(map[string]string{})
}

func TestServerRestart(t *testing.T) {
	b := start(t)
	kv := b.create()
	b.put(kv, "k", "1")
	b.open(time.Minute)
	b.server.Restart()
	natstest.Eventually(t, soon, func() bool {
		_, err := kv.PutString(t.Context(), "k", "2")
		return err == nil
	}, "the store can be written again")
	b.converges(map[string]string{"k": "2"})
	b.put(kv, "l", "3")
	b.converges(map[string]string{"k": "2", "l": "3"})
}

// A key that went while the view was cut off, and whose marker is gone too by the time it is
// back, leaves no trace in the stream.
func TestPurgedUnseen(t *testing.T) {
	b := start(t)
	kv := b.create()
	b.put(kv, "stays", "1")
	b.put(kv, "goes", "1")
	b.open(2 * time.Second)
	b.converges(map[string]string{"stays": "1", "goes": "1"})

	stream, err := b.js.Stream(t.Context(), "KV_"+store)
	if err != nil {
		t.Fatal(err)
	}
	// A purge of the stream, not of the store, makes no marker: no watch hears of it.
	if err := stream.Purge(t.Context(), jetstream.WithPurgeSubject("$KV."+store+".goes")); err != nil {
		t.Fatal(err)
	}
	b.converges(map[string]string{"stays": "1"})
	if n := b.count("tickfan.pets.ghosts"); n != 1 {
		t.Errorf("%d ghosts, want 1", n)
	}
	b.losesOnly()
}

// A watch whose consumer is gone hears nothing, and nobody tells it.
func TestConsumerGone(t *testing.T) {
	b := start(t)
	kv := b.create()
	b.open(time.Minute)
	stream, err := b.js.Stream(t.Context(), "KV_"+store)
	if err != nil {
		t.Fatal(err)
	}
	for name := range stream.ConsumerNames(t.Context()).Name() {
		if err := stream.DeleteConsumer(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	b.put(kv, "k", "1")
	b.converges(map[string]string{"k": "1"})
}

func TestConfirmingWhileWritten(t *testing.T) {
	b := start(t)
	kv := b.create()
	b.open(100 * time.Millisecond)
	want := map[string]string{}
	for i := 0; b.count("tickfan.pets.confirmations") < 10; i++ {
		k, v := fmt.Sprintf("k%d", i%50), fmt.Sprint(i)
		if i%7 == 0 {
			if err := kv.Delete(t.Context(), k); err != nil {
				t.Fatal(err)
			}
			delete(want, k)
		} else {
			b.put(kv, k, v)
			want[k] = v
		}
	}
	b.converges(want)
	stream, err := b.js.Stream(t.Context(), "KV_"+store)
	if err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, soon, func() bool {
		info, err := stream.Info(t.Context())
		return err == nil && info.State.Consumers == 1
	}, "one consumer, not one per confirmation")
}

func TestNoGhostsInPeace(t *testing.T) {
	b := start(t)
	kv := b.create()
	b.open(3 * time.Second)
	want := map[string]string{}
	for i := 0; b.count("tickfan.pets.confirmations") < 3; i++ {
		k, v := fmt.Sprintf("k%d", i%50), fmt.Sprint(i)
		if i%7 == 0 {
			if err := kv.Purge(t.Context(), k); err != nil {
				t.Fatal(err)
			}
			delete(want, k)
		} else {
			b.put(kv, k, v)
			want[k] = v
		}
	}
	b.converges(want)
	if g, m := b.count("tickfan.pets.ghosts"), b.count("tickfan.pets.missing"); g != 0 || m != 0 {
		t.Errorf("%d ghosts and %d missing, want none", g, m)
	}
}

func TestRefused(t *testing.T) {
	b := start(t)
	kv := b.create()
	b.put(kv, "k", "1")
	b.put(kv, "no-key", "1")
	b.put(kv, "never", "bad")
	b.open(300 * time.Millisecond)
	b.put(kv, "k", "bad")
	b.put(kv, "l", "1")
	b.confirmed(4)
	b.converges(map[string]string{"k": "1", "l": "1"})
	if n := b.count("tickfan.pets.refused"); n != 3 {
		t.Errorf("%d refused, want 3: each once, however often it is read", n)
	}
	b.put(kv, "k", "2")
	if err := kv.Delete(t.Context(), "never"); err != nil {
		t.Fatal(err)
	}
	b.converges(map[string]string{"k": "2", "l": "1"})
}

func TestClosedConnection(t *testing.T) {
	b := start(t)
	b.create()
	view, err := kvview.Open(t.Context(), b.options(b.js, time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	b.nc.Close()
	view.Close()
}
