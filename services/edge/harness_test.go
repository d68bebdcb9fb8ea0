package edge

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lxzan/gws"
	"github.com/nats-io/nats.go"

	"github.com/tickfan/tickfan/libs/conf"
	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/libs/ops"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
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
	mute       bool             // answer nothing, send nothing
	silent     bool             // registry answers, but no batch confirms anything
	unanswered int              // so many changes are announced, but not answered
	changes    int
	skipBatch  bool // count the next batch, but do not send it
}

type bucketState struct {
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
		b = &bucketState{parts: map[int]control.PartValue{}}
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
	r.answer(m, control.HeartbeatAnswer{TTL: 15000, Lost: r.lost})
	r.lost = nil
}

func (r *region) askedNewest(m *nats.Msg) {
	req, err := tick.DecodeNewestRequest(m.Data)
	if err != nil {
		r.t.Errorf("newest: %v", err)
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
	m := tick.Batch{Router: "r1", Number: b.number}
	for p, v := range b.parts {
		m.Interest[p] = v.Number
	}
	for i := range ticks {
		m.Items = append(m.Items, ticks[i].Append(nil))
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
	if t.After(r.newest[t.Symbol].Position) {
		r.newest[t.Symbol] = t
	}
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

// running is an edge that Run serves.
type running struct {
	t    *testing.T
	url  string // host:port
	ops  *ops.Mux
	log  *logBuffer
	stop func() error
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
		Options: Options{Listen: addr, Name: "edge", WriteGap: 20 * time.Millisecond, Idle: time.Minute}}
	for _, f := range change {
		f(&cfg)
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
	e := &running{t: t, url: addr, ops: mux, log: log}
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

func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// client is a WebSocket client over gws.
type client struct {
	gws.BuiltinEventHandler
	t      *testing.T
	format session.Format
	stale  bool // hand out stale and fresh
	conn   *gws.Conn
	in     chan session.Message
	closed chan error
	opened time.Time
	silent atomic.Bool // answer no pings
	pings  atomic.Int32
	pong   atomic.Value // string: payload of the last pong
}

func (c *client) OnPing(conn *gws.Conn, payload []byte) {
	c.pings.Add(1)
	if !c.silent.Load() {
		_ = conn.WritePong(payload)
	}
}

func (c *client) OnPong(_ *gws.Conn, payload []byte) { c.pong.Store(string(payload)) }

func (c *client) OnMessage(_ *gws.Conn, m *gws.Message) {
	defer m.Close()
	msg, err := session.DecodeMessage(c.format, m.Bytes())
	if err != nil {
		c.t.Errorf("%s: %v", m.Bytes(), err)
		return
	}
	if c.stale || msg.Op != session.OpStale && msg.Op != session.OpFresh { // no test but one is about how fast the region beats
		c.in <- msg
	}
}

func (c *client) OnClose(_ *gws.Conn, err error) { c.closed <- err }

func dial(t *testing.T, e *running, f session.Format) *client {
	t.Helper()
	return dialStale(t, e, f, false)
}

func dialStale(t *testing.T, e *running, f session.Format, stale bool) *client {
	t.Helper()
	c := &client{t: t, format: f, stale: stale, opened: time.Now(), in: make(chan session.Message, 100000), closed: make(chan error, 1)}
	var err error
	c.conn, _, err = gws.NewClient(c, &gws.ClientOption{Addr: "ws://" + e.url + session.PathWS,
		RequestHeader: map[string][]string{"Sec-WebSocket-Protocol": {f.String()}}})
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	go c.conn.ReadLoop()
	t.Cleanup(func() { _ = c.conn.NetConn().Close() })
	return c
}

func (c *client) send(r session.Request) {
	c.t.Helper()
	op := gws.OpcodeText
	if c.format == session.MessagePack {
		op = gws.OpcodeBinary
	}
	if err := c.conn.WriteMessage(op, session.AppendRequest(c.format, nil, &r)); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

func (c *client) text(s string) {
	c.t.Helper()
	if err := c.conn.WriteString(s); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

func (c *client) next() session.Message {
	c.t.Helper()
	select {
	case m := <-c.in:
		return m
	case err := <-c.closed:
		c.closed <- err
		select {
		case m := <-c.in:
			return m
		default:
		}
		c.t.Fatalf("closed: %v", err)
	case <-time.After(wait):
		c.t.Fatal("no message")
	}
	panic("unreachable")
}

// expect gives the next message, which must have this op.
func (c *client) expect(op string) session.Message {
	c.t.Helper()
	m := c.next()
	if m.Op != op {
		c.t.Fatalf("got %+v, want op %s", m, op)
	}
	return m
}

func (c *client) subscribe(symbols ...subject.Symbol) session.Message {
	c.t.Helper()
	c.send(session.Request{Op: session.OpSubscribe, ID: new(int64), Symbols: symbols})
	return c.expect(session.OpSubscribed)
}

// closeCode waits for the end and gives its code.
func (c *client) closeCode() uint16 {
	c.t.Helper()
	select {
	case err := <-c.closed:
		var ce *gws.CloseError
		if e, ok := err.(*gws.CloseError); ok {
			ce = e
			return ce.Code
		}
		c.t.Fatalf("closed without a code: %v", err)
	case <-time.After(wait):
		c.t.Fatal("not closed")
	}
	return 0
}
