package router

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/libs/conf"
	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/libs/ops"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

const (
	within = 20 * time.Second

	bucketA subject.Bucket = "edge-abc123-0"
	bucketB subject.Bucket = "edge-abc123-1"
)

// world is a NATS server and what ingest, registry and edges would do on it.
type world struct {
	t      *testing.T
	server *natstest.Server
	nc     *nats.Conn
	js     jetstream.JetStream
}

// newWorld has neither TICKS nor INTEREST yet.
func newWorld(t *testing.T) *world {
	w := &world{t: t, server: natstest.Start(t)}
	w.nc = w.server.Connect(t)
	js, err := jetstream.New(w.nc)
	if err != nil {
		t.Fatal(err)
	}
	w.js = js
	return w
}

func (w *world) makeTicks() {
	w.t.Helper()
	natstest.Made(w.t, func() (jetstream.Stream, error) {
		return w.js.CreateStream(w.t.Context(), jetstream.StreamConfig{
			Name: subject.StreamTicks, Subjects: []string{subject.TicksAll}, MaxMsgsPerSubject: 100, AllowDirect: true,
		})
	})
}

func (w *world) makeInterest() {
	w.t.Helper()
	natstest.Made(w.t, func() (jetstream.KeyValue, error) {
		return w.js.CreateKeyValue(w.t.Context(), jetstream.KeyValueConfig{
			Bucket: subject.KVInterest, History: 1, LimitMarkerTTL: 5 * time.Minute,
		})
	})
}

// tick publishes one as ingest does.
func (w *world) tick(s subject.Symbol, epoch, seq uint64) {
	w.t.Helper()
	if err := w.nc.Publish(subject.Ticks(s), payload(s, epoch, seq)); err != nil {
		w.t.Fatal(err)
	}
}

// store publishes a tick and returns when TICKS has it.
func (w *world) store(s subject.Symbol, epoch, seq uint64) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), within)
	defer cancel()
	if _, err := w.js.Publish(ctx, subject.Ticks(s), payload(s, epoch, seq)); err != nil {
		w.t.Fatal(err)
	}
}

func payload(s subject.Symbol, epoch, seq uint64) []byte {
	t := tick.Tick{
		Symbol:   s,
		Position: tick.Position{Epoch: epoch, Seq: seq},
		At:       1763769600000000,
		Quote:    tick.Quote{Price: tick.NewDecimal(seq, 2), TS: 1763769600000000},
	}
	return t.Append(nil)
}

func value(number uint64, f control.Flag, symbols ...subject.Symbol) control.PartValue {
	v := control.PartValue{Number: number, Symbols: control.Set{}}
	for _, s := range symbols {
		v.Symbols[s] = f
	}
	return v
}

// put writes interest as the registry does. The symbols must be of one part.
func (w *world) put(b subject.Bucket, part int, v control.PartValue) {
	w.t.Helper()
	kv, err := w.js.KeyValue(w.t.Context(), subject.KVInterest)
	if err != nil {
		w.t.Fatal(err)
	}
	data, err := json.Marshal(v)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := kv.Put(w.t.Context(), subject.InterestKey(b, part), data); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) purge(b subject.Bucket, part int) {
	w.t.Helper()
	kv, err := w.js.KeyValue(w.t.Context(), subject.KVInterest)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := kv.Purge(w.t.Context(), subject.InterestKey(b, part)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) announce(b subject.Bucket, part int, v control.PartValue) {
	w.t.Helper()
	a := control.Announcement{Bucket: b, Part: part, PartValue: v}
	if err := w.nc.Publish(subject.Interest("local"), a.Append(nil)); err != nil {
		w.t.Fatal(err)
	}
}

// newest asks as an edge does; err is NATS's.
func (w *world) newest(symbols ...subject.Symbol) (seqs map[string]uint64, missing []subject.Symbol, err error) {
	w.t.Helper()
	inbox := w.nc.NewInbox()
	sub, err := w.nc.SubscribeSync(inbox)
	if err != nil {
		w.t.Fatal(err)
	}
	defer sub.Unsubscribe()
	req := tick.NewestRequest{Symbols: symbols}
	if err := w.nc.PublishRequest(subject.RouterNewest("local"), inbox, req.Append(nil)); err != nil {
		w.t.Fatal(err)
	}
	seqs = map[string]uint64{}
	for {
		m, err := sub.NextMsg(within)
		if err != nil {
			return nil, nil, err
		}
		a, err := tick.DecodeNewestAnswer(m.Data)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, p := range a.Ticks {
			h, err := tick.DecodeHead(p)
			if err != nil {
				w.t.Fatal(err)
			}
			seqs[string(h.Symbol)] = h.Seq
		}
		missing = append(missing, a.Missing...)
		if a.Last {
			return seqs, missing, nil
		}
	}
}

// feed is a bucket as its edge hears it.
type feed struct {
	t *testing.T

	mu       sync.Mutex
	router   string
	batches  int
	number   uint64
	holes    int
	interest [subject.Parts]uint64
	seqs     map[string][]uint64
	noBeat   bool
}

func (w *world) listen(b subject.Bucket) *feed {
	w.t.Helper()
	f := &feed{t: w.t, seqs: map[string][]uint64{}}
	if _, err := w.nc.Subscribe(subject.Fanout("local", b), f.take); err != nil {
		w.t.Fatal(err)
	}
	if err := w.nc.Flush(); err != nil {
		w.t.Fatal(err)
	}
	return f
}

func (f *feed) take(m *nats.Msg) {
	var b tick.Batch
	if err := b.Decode(m.Data); err != nil {
		f.t.Errorf("batch: %v", err)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.router == b.Router && b.Number != f.number+1 || f.router != b.Router && b.Number != 1 {
		f.holes++
	}
	f.router, f.number, f.interest, f.noBeat = b.Router, b.Number, b.Interest, b.BeatAge == tick.NoBeat
	f.batches++
	for _, it := range b.Items {
		h, err := tick.DecodeHead(it)
		if err != nil {
			f.t.Errorf("item: %v", err)
			return
		}
		f.seqs[string(h.Symbol)] = append(f.seqs[string(h.Symbol)], h.Seq)
	}
}

// last is the last seq of a symbol that came, 0 when none did.
func (f *feed) last(s subject.Symbol) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.seqs[string(s)]
	if len(all) == 0 {
		return 0
	}
	return all[len(all)-1]
}

func (f *feed) all(s subject.Symbol) []uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]uint64(nil), f.seqs[string(s)]...)
}

func (f *feed) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.batches
}

func (f *feed) confirmed(part int) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.interest[part]
}

// running is a router under Run.
type running struct {
	t     *testing.T
	mux   *ops.Mux
	log   valve
	said  chan struct{} // closed by Ready
	end   context.CancelFunc
	ended chan error
}

// run starts a router; it ends with the test, if not before.
func (w *world) run() *running { w.t.Helper(); return w.runAt(w.server.URL()) }

func (w *world) runAt(url string) *running { w.t.Helper(); return w.runOf(url, 1) }

func (w *world) runOf(url string, copies int) *running {
	w.t.Helper()
	mux, err := ops.New("router")
	if err != nil {
		w.t.Fatal(err)
	}
	r := &running{t: w.t, mux: mux, said: make(chan struct{}), ended: make(chan error, 1)}
	ctx, end := context.WithCancel(context.Background())
	r.end = end
	cfg := Config{Common: conf.Common{NATS: url, Region: "local"}, Options: Options{Copies: copies, Flush: 2 * time.Millisecond}}
	r.log.out = testLog{w.t}
	deps := Deps{Log: slog.New(slog.NewTextHandler(&r.log, nil)), Ops: mux, Ready: func() { close(r.said) }}
	go func() { r.ended <- Run(ctx, cfg, deps) }()
	w.t.Cleanup(func() {
		r.stop()
		if err := mux.Close(context.Background()); err != nil {
			w.t.Error(err)
		}
	})
	return r
}

// ready waits until the router says so.
func (r *running) ready() *running {
	r.t.Helper()
	select {
	case <-r.said:
	case <-time.After(within):
		r.t.Fatalf("not ready: %s", r.get("/readyz"))
	}
	return r
}

func (r *running) stop() {
	r.t.Helper()
	if r.end == nil {
		return
	}
	r.end()
	r.end = nil
	select {
	case err := <-r.ended:
		if err != nil {
			r.t.Errorf("Run: %v", err)
		}
	case <-time.After(within):
		r.t.Fatal("Run did not return")
	}
}

func (r *running) get(path string) string {
	rec := httptest.NewRecorder()
	r.mux.Handler().ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
	return rec.Body.String()
}

// metric is the value of a series, given as `name` or `name{label="value"}`, of which labels not named are ignored.
func (r *running) metric(name, label string) float64 {
	r.t.Helper()
	for line := range strings.Lines(r.get("/metrics")) {
		if !strings.HasPrefix(line, name+"{") || !strings.Contains(line, label) {
			continue
		}
		var v float64
		if _, err := fmt.Sscan(line[strings.LastIndexByte(strings.TrimSpace(line), ' ')+1:], &v); err != nil {
			r.t.Fatalf("%s: %v", line, err)
		}
		return v
	}
	r.t.Fatalf("no metric %s", name)
	return 0
}

// valve is a log that can be held up, and with it whoever writes a line.
type valve struct {
	sync.Mutex
	out io.Writer
}

func (v *valve) Write(p []byte) (int, error) {
	v.Lock()
	defer v.Unlock()
	return v.out.Write(p)
}

type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}
