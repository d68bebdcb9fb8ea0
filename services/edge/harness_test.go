package edge

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tickfan/tickfan/libs/conf"
	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/libs/ops"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
	"github.com/tickfan/tickfan/services/edge/internal/certtest"
)

const wait = 10 * time.Second

// region plays registry and router for an edge, over real NATS: what it is told to publish reaches the buckets that want
// it, in numbered batches.
type region struct {
	t    *testing.T
	nats *natstest.Server
	nc   *nats.Conn

	mu         sync.Mutex
	interest   map[subject.Bucket]*bucketState
	newest     map[subject.Symbol]tick.Tick
	edges      map[subject.Edge]control.Heartbeat
	lost       []subject.Bucket // to be said in the next answer
	others     int              // edges that take clients besides
	trace      string           // of the ticks in batches
	drain      bool             // tell edges to
	mute       bool             // answer nothing, send nothing
	silent     bool             // registry answers, but no batch confirms anything
	unanswered int              // so many changes are announced, but not answered
	changes    int
	skipBatch  bool // count the next batch, but do not send it
	history
}

type bucketState struct {
	router string // which series of batches this is
	number uint64
	parts  map[int]control.PartValue
}

func newRegion(t *testing.T) *region {
	r := &region{t: t, nats: natstest.Start(t), interest: map[subject.Bucket]*bucketState{},
		newest: map[subject.Symbol]tick.Tick{}, edges: map[subject.Edge]control.Heartbeat{}}
	r.nc = r.nats.Connect(t)
	r.on(subject.Registry("local", subject.EndpointInterest), r.changed)
	r.on(subject.Registry("local", subject.EndpointHeartbeat), r.heartbeat)
	r.on(subject.RouterNewest("local"), r.askedNewest)
	if err := r.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *region) on(subj string, f func(*nats.Msg)) {
	if _, err := r.nc.Subscribe(subj, func(m *nats.Msg) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if !r.mute {
			f(m)
		}
	}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *region) changed(m *nats.Msg) {
	var req control.InterestRequest
	if err := json.Unmarshal(m.Data, &req); err != nil {
		r.t.Errorf("interest: %v", err)
	}
	if err := req.Validate(); err != nil {
		r.t.Errorf("interest: %v", err)
	}
	r.changes++
	b := r.interest[req.Bucket]
	if b == nil {
		b = &bucketState{router: "r1.1", parts: map[int]control.PartValue{}}
		r.interest[req.Bucket] = b
	}
	var added []tick.Tick
	for p, set := range req.Parts {
		old := b.parts[p]
		if req.Number <= old.Number {
			continue
		}
		for s, f := range set {
			if t, ok := r.newest[s]; ok && old.Symbols[s] != f {
				added = append(added, t)
			}
		}
		b.parts[p] = control.PartValue{Number: req.Number, Symbols: set}
	}
	if r.unanswered > 0 {
		r.unanswered--
	} else {
		r.answer(m, control.InterestAnswer{Number: req.Number})
	}
	if !r.silent {
		r.sendLocked(req.Bucket, b, added...)
	}
}

func (r *region) heartbeat(m *nats.Msg) {
	var h control.Heartbeat
	if err := json.Unmarshal(m.Data, &h); err != nil {
		r.t.Errorf("heartbeat: %v", err)
	}
	if err := h.Validate(); err != nil {
		r.t.Errorf("heartbeat: %v", err)
	}
	r.edges[h.Edge] = h
	r.answer(m, control.HeartbeatAnswer{TTL: 15000, Lost: r.lost, Others: r.others, Drain: r.drain})
	r.lost = nil
}

func (r *region) askedNewest(m *nats.Msg) {
	req, err := tick.DecodeNewestRequest(m.Data)
	if err != nil {
		r.t.Errorf("newest: %v", err)
	}
	if req.Range.Symbol != "" {
		r.askedRange(m, req.Range)
		return
	}
	a := tick.NewestAnswer{Last: true}
	if req.Symbols == nil {
		for s := range maps.Keys(r.newest) {
			req.Symbols = append(req.Symbols, s)
		}
	}
	for _, s := range req.Symbols {
		if t, ok := r.newest[s]; ok {
			a.Ticks = append(a.Ticks, t.Append(nil))
		} else {
			a.Missing = append(a.Missing, s)
		}
	}
	_ = m.Respond(a.Append(nil))
}

func (r *region) answer(m *nats.Msg, v any) {
	p, err := json.Marshal(v)
	if err != nil {
		r.t.Error(err)
	}
	_ = m.Respond(p)
}

// sendLocked sends one batch to a bucket.
func (r *region) sendLocked(id subject.Bucket, b *bucketState, ticks ...tick.Tick) {
	b.number++
	if r.skipBatch {
		r.skipBatch = false
		return
	}
	m := tick.Batch{Router: b.router, Number: b.number}
	for p, v := range b.parts {
		m.Interest[p] = v.Number
	}
	for i := range ticks {
		m.Items = append(m.Items, ticks[i].Append(nil))
		if r.trace != "" {
			item, err := tick.WithTrace(m.Items[i], r.trace)
			if err != nil {
				r.t.Error(err)
			}
			m.Items[i] = item
		}
	}
	if err := r.nc.Publish(subject.Fanout("local", id), m.Append(nil)); err != nil {
		r.t.Error(err)
	}
}

// publish routes a tick to the buckets that want its symbol.
func (r *region) publish(sym subject.Symbol, seq uint64, price string) {
	r.send(tick.Tick{Symbol: sym, Position: tick.Position{Epoch: 7, Seq: seq}, At: 1,
		Quote: tick.Quote{Price: tick.MustDecimal(price), TS: 1763769600000000 + int64(seq)}})
}

func (r *region) send(t tick.Tick) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.storeLocked(t)
	for id, b := range r.interest {
		if b.parts[subject.Part(t.Symbol)].Symbols[t.Symbol] != "" {
			r.sendLocked(id, b, t)
		}
	}
}

// beat sends an empty batch to each bucket.
func (r *region) beat() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, b := range r.interest {
		r.sendLocked(id, b)
	}
}

func (r *region) set(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

// wanted is the symbols of all buckets, sorted.
func (r *region) wanted() []subject.Symbol {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := map[subject.Symbol]bool{}
	for _, b := range r.interest {
		for _, part := range b.parts {
			for s := range part.Symbols {
				all[s] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// running is an edge that Run serves.
type running struct {
	t    *testing.T
	url  string // host:port
	ops  *ops.Mux
	log  *logBuffer
	tls  *tls.Config // a client's; nil: plain
	done chan error
	stop func() error
}

// http is what its URLs begin with.
func (e *running) http() string {
	if e.tls != nil {
		return "https://" + e.url
	}
	return "http://" + e.url
}

// dial connects; buffer is for the socket to receive into, in bytes, 0 as the system has it.
func (e *running) dial(buffer int) net.Conn {
	e.t.Helper()
	nc, err := net.Dial("tcp", e.url)
	if err != nil {
		e.t.Fatal(err)
	}
	if buffer > 0 {
		if err := nc.(*net.TCPConn).SetReadBuffer(buffer); err != nil {
			e.t.Fatal(err)
		}
	}
	if e.tls == nil {
		return nc
	}
	return tls.Client(nc, e.tls)
}

type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func startEdge(t *testing.T, r *region, change ...func(*Config)) *running {
	t.Helper()
	addr := freeAddr(t)
	cfg := Config{Common: conf.Common{NATS: r.nats.URL(), Region: "local"},
		Options: Options{Listen: addr, Name: "edge", WriteGap: 20 * time.Millisecond, Idle: time.Minute, Reader: reader(), Compression: "on"}}
	for _, f := range change {
		f(&cfg)
	}
	var client *tls.Config
	if os.Getenv(readerVar) == overTLS && cfg.TLSCert == "" {
		a := certtest.NewAuthority(t)
		cfg.TLSCert, cfg.TLSKey = a.Files("edge")
		client = a.Client()
	}
	mux, err := ops.New("edge")
	if err != nil {
		t.Fatal(err)
	}
	log := &logBuffer{}
	ready := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- Run(ctx, cfg, Deps{Log: slog.New(slog.NewTextHandler(log, nil)), Ops: mux, Ready: func() { close(ready) }})
	}()
	e := &running{t: t, url: addr, ops: mux, log: log, tls: client, done: done}
	e.stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(wait):
			return fmt.Errorf("edge does not stop")
		}
	})
	t.Cleanup(func() {
		if err := e.stop(); err != nil {
			t.Errorf("edge: %v", err)
		}
		_ = mux.Close(context.Background())
		if t.Failed() {
			t.Log(log.String())
		}
	})
	select {
	case <-ready:
	case err := <-done:
		t.Fatalf("edge: %v", err)
	case <-time.After(wait):
		t.Fatalf("edge is not ready:\n%s", log)
	}
	return e
}

// readyz is what the ops port answers.
func (e *running) readyz() string { e.t.Helper(); return e.ask("/readyz") }

// ask asks the ops port.
func (e *running) ask(path string) string {
	e.t.Helper()
	w := &recorder{head: http.Header{}}
	req, err := http.NewRequest("GET", path, nil)
	if err != nil {
		e.t.Fatal(err)
	}
	e.ops.Handler().ServeHTTP(w, req)
	return w.body.String()
}

func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
