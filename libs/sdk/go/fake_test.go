package tickfan_test

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lxzan/gws"
	tickfan "github.com/tickfan/tickfan/libs/sdk/go"
	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

// fakeEdge speaks proto/session as its test tells it to. It takes connections from net.Pipe, so that a test in a
// synctest bubble sees time itself, or from a listener.
type fakeEdge struct {
	speaks   session.Format // and those before it
	sessions chan *fakeSession
	headers  chan http.Header                 // of each handshake
	refuse   func(n int64) string             // what to answer the n-th handshake with, from 0, instead of upgrading; "": upgrade
	dialed   func(address string, n int) bool // whether a network connection may be made
	ticks    func(r *http.Request) string     // what to answer a request for ticks with
	ahead    atomic.Int64                     // nanoseconds of its clock
	stuck    atomic.Bool                      // it reads nothing until free is closed
	free     chan struct{}

	attempts atomic.Int64
	dials    atomic.Int64
	running  sync.WaitGroup
}

func newFakeEdge() *fakeEdge {
	return &fakeEdge{speaks: session.Compact, sessions: make(chan *fakeSession, 64), headers: make(chan http.Header, 1024), free: make(chan struct{})}
}

// pipe is an Options.NetDial.
func (e *fakeEdge) pipe(_ context.Context, _, address string) (net.Conn, error) {
	n := int(e.dials.Add(1))
	if e.dialed != nil && !e.dialed(address, n) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: net.UnknownNetworkError("refused by the test")}
	}
	ours, theirs := net.Pipe()
	e.running.Go(func() { e.serve(ours) })
	return theirs, nil
}

// serve is one connection, from handshake to end.
func (e *fakeEdge) serve(conn net.Conn) {
	defer conn.Close()
	br := bufio.NewReader(conn)
	r, err := http.ReadRequest(br)
	if err != nil {
		return
	}
	if strings.Contains(r.URL.Path, session.PathTicks) {
		_, _ = conn.Write([]byte(e.ticks(r)))
		return
	}
	e.headers <- r.Header
	if n := e.attempts.Add(1) - 1; e.refuse != nil {
		if answer := e.refuse(n); answer != "" {
			_, _ = conn.Write([]byte(answer))
			return
		}
	}
	s := &fakeSession{edge: e, path: r.URL.Path, requests: make(chan session.Request, 4096), closed: make(chan error, 1)}
	for offer := range strings.SplitSeq(r.Header.Get("Sec-WebSocket-Protocol"), ", ") {
		if i := slices.Index(session.Subprotocols[:], offer); i >= 0 && session.Format(i) <= e.speaks {
			s.format = session.Format(i)
			break
		}
	}
	up := gws.NewUpgrader(s, &gws.ServerOption{SubProtocols: []string{s.format.String()}})
	ws, err := up.UpgradeFromConn(conn, br, r)
	if err != nil {
		return
	}
	s.ws, s.conn = ws, conn
	e.sessions <- s
	if e.stuck.Load() {
		<-e.free
	}
	ws.ReadLoop()
}

// fakeSession is one client's connection, seen from the edge.
type fakeSession struct {
	gws.BuiltinEventHandler
	edge     *fakeEdge
	path     string
	format   session.Format
	ws       *gws.Conn
	conn     net.Conn
	requests chan session.Request // all but pings, which are answered
	closed   chan error
	pings    atomic.Int64
	pongs    atomic.Int64
	mute     atomic.Bool // answers no ping

	mu      sync.Mutex
	symbols map[subject.Symbol]*fakeSymbol // Compact
}

// fakeSymbol is where a session in Compact stands with a symbol.
type fakeSymbol struct {
	number uint32
	last   tick.Tick
	digits session.Digits
}

// numbers gives symbols their numbers, anew.
func (s *fakeSession) numbers(symbols []subject.Symbol) (all []uint32) {
	if s.format != session.Compact {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.symbols == nil {
		s.symbols = map[subject.Symbol]*fakeSymbol{}
	}
	for _, name := range symbols {
		n := uint32(len(s.symbols) + 1)
		if old := s.symbols[name]; old != nil {
			n = old.number
		}
		s.symbols[name] = &fakeSymbol{number: n}
		all = append(all, n)
	}
	return all
}

// encode gives a tick as an edge sends it: in Compact in changed form where it can.
func (s *fakeSession) encode(t *tick.Tick) []byte {
	if s.format != session.Compact {
		return session.AppendTick(s.format, nil, t)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.symbols[t.Symbol]
	if k == nil { // an edge that says what nobody asked for
		return session.AppendFull(nil, 1<<20, t, session.Digits(0).Cover(t))
	}
	g, last := k.digits.Cover(t), k.last
	k.last = *t
	if g != k.digits || last.Epoch == 0 || !session.Follows(&last, t) {
		k.digits = g
		return session.AppendFull(nil, k.number, t, g)
	}
	return session.AppendChanged(nil, k.number, &last, t, g)
}

func (s *fakeSession) OnPong(*gws.Conn, []byte)       { s.pongs.Add(1) }
func (s *fakeSession) OnClose(_ *gws.Conn, err error) { s.closed <- err }
func (s *fakeSession) OnMessage(_ *gws.Conn, m *gws.Message) {
	defer m.Close()
	r, err := session.DecodeRequest(s.format, m.Bytes())
	switch {
	case err != nil:
		e := code.Of(err)
		s.say(session.Message{Op: session.OpError, ID: r.ID, Code: e.Code, Message: e.Message})
	case r.Op != session.OpPing:
		s.requests <- r
	default:
		s.pings.Add(1)
		if !s.mute.Load() {
			s.say(session.Message{Op: session.OpPong, ID: r.ID, TS: time.Now().Add(time.Duration(s.edge.ahead.Load())).UnixMicro()})
		}
	}
}

func (s *fakeSession) write(p []byte) error {
	if s.format != session.JSON {
		return s.ws.WriteMessage(gws.OpcodeBinary, p)
	}
	return s.ws.WriteMessage(gws.OpcodeText, p)
}

func (s *fakeSession) say(m session.Message) { _ = s.write(m.Append(s.format, nil)) }

func (s *fakeSession) tick(symbol subject.Symbol, epoch, seq uint64, price string) error {
	t := tick.Tick{Symbol: symbol, Position: tick.Position{Epoch: epoch, Seq: seq}}
	t.Price, t.TS = tick.MustDecimal(price), time.Now().UnixMicro()
	return s.write(s.encode(&t))
}

// agree answers the next request, which must be a subscribe or unsubscribe, and gives it.
func (s *fakeSession) agree(noPrice ...subject.Symbol) session.Request {
	r := <-s.requests
	if r.Op == session.OpUnsubscribe {
		s.say(session.Message{Op: session.OpUnsubscribed, ID: r.ID, Symbols: r.Symbols})
	} else {
		s.say(session.Message{Op: session.OpSubscribed, ID: r.ID, Symbols: r.Symbols, NoPrice: noPrice, Numbers: s.numbers(r.Symbols)})
	}
	return r
}

// sever breaks the connection as a dying edge does.
func (s *fakeSession) sever() { s.conn.Close() }

func (s *fakeSession) close(code uint16, reason string) { _ = s.ws.WriteClose(code, []byte(reason)) }

// dial makes a Client of the edge over net.Pipe and gives both ends of its first connection.
func (e *fakeEdge) dial(t *testing.T, o tickfan.Options) (*tickfan.Client, *fakeSession) {
	t.Helper()
	o.NetDial = e.pipe
	c, err := tickfan.Dial(t.Context(), "ws://edge", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		e.running.Wait()
	})
	return c, <-e.sessions
}

// subscribe subscribes and has the edge agree.
func subscribe(t *testing.T, c *tickfan.Client, s *fakeSession, symbols []string, o ...tickfan.SubscribeOption) session.Request {
	t.Helper()
	asked := make(chan session.Request, 1)
	go func() { asked <- s.agree() }()
	if _, err := c.Subscribe(t.Context(), symbols, o...); err != nil {
		t.Fatal(err)
	}
	return <-asked
}

// next gives the next event of one kind and fails on any other.
func next[E tickfan.Event](t *testing.T, c *tickfan.Client) E {
	t.Helper()
	got, err := c.Next(t.Context())
	e, ok := got.(E)
	if err != nil || !ok {
		t.Fatalf("next event is %#v, %v; want a %T", got, err, e)
	}
	return e
}

// wantTick fails unless the next event is this tick.
func wantTick(t *testing.T, c *tickfan.Client, symbol string, epoch, seq uint64) {
	t.Helper()
	got := next[tickfan.Tick](t, c)
	if got.Symbol != symbol || got.Epoch != epoch || got.Seq != seq {
		t.Fatalf("tick is %s %d/%d, want %s %d/%d", got.Symbol, got.Epoch, got.Seq, symbol, epoch, seq)
	}
}

func wantGap(t *testing.T, c *tickfan.Client, want tickfan.Gap) {
	t.Helper()
	if got := next[tickfan.Gap](t, c); got != want {
		t.Fatalf("gap is %+v, want %+v", got, want)
	}
}

// must is for what a test takes for granted.
func must(t *testing.T) func(tickfan.Event, error) tickfan.Event {
	return func(e tickfan.Event, err error) tickfan.Event {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
}
