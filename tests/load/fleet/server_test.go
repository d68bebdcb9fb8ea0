package fleet

import (
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lxzan/gws"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

// fault is what a test's server does wrong with a tick on one connection: it gives the ticks to send instead.
type fault func(c *client, t tick.Tick) []tick.Tick

// server speaks the protocol of an edge, to a handful of clients, wrongly where it is told to.
type server struct {
	gws.BuiltinEventHandler
	t       *testing.T
	address string
	fault   fault

	mu      sync.Mutex
	clients map[*gws.Conn]*client
	newest  map[subject.Symbol]tick.Tick
	wrongs  int // ticks with which something wrong was done
	pongs   []string
	joined  int // connections so far
}

// client is one connection of a server.
type client struct {
	conn    *gws.Conn
	format  session.Format
	symbols []subject.Symbol
	sent    int        // ticks, snapshots not counted
	held    *tick.Tick // by a fault
	numbers map[subject.Symbol]*numbered
}

// numbered is what a client of Compact knows of a symbol.
type numbered struct {
	number uint32
	last   tick.Tick
	digits session.Digits
}

// serve starts a server on a free port; it ends with the test.
func serve(t *testing.T, wrong fault) *server {
	t.Helper()
	s := &server{t: t, fault: wrong, clients: map[*gws.Conn]*client{}, newest: map[subject.Symbol]tick.Tick{}}
	up := gws.NewUpgrader(s, &gws.ServerOption{SubProtocols: session.Subprotocols[:], Recovery: gws.Recovery})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = l.Addr().String()
	var reading sync.WaitGroup
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != session.PathWS {
			http.Error(w, `{"error":{"code":"too_many_clients","message":"full"}}`, http.StatusServiceUnavailable)
			return
		}
		conn, err := up.Upgrade(w, r)
		if err != nil {
			t.Errorf("upgrade: %v", err)
			return
		}
		reading.Go(conn.ReadLoop)
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = web.Serve(l) // closed by the test's end
	}()
	t.Cleanup(func() {
		_ = web.Close()
		<-done
		s.mu.Lock()
		for conn := range s.clients {
			_ = conn.NetConn().Close()
		}
		s.mu.Unlock()
		reading.Wait()
	})
	return s
}

func (s *server) OnOpen(conn *gws.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.joined++
	c := &client{conn: conn}
	c.format = session.Format(max(0, slices.Index(session.Subprotocols[:], conn.SubProtocol())))
	s.clients[conn] = c
}

func (s *server) OnClose(conn *gws.Conn, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, conn)
}

func (s *server) OnPong(_ *gws.Conn, payload []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pongs = append(s.pongs, string(payload))
}

func (s *server) OnMessage(conn *gws.Conn, m *gws.Message) {
	defer func() { _ = m.Close() }()
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.clients[conn]
	if c == nil {
		return
	}
	r, err := session.DecodeRequest(c.format, m.Bytes())
	if err != nil {
		s.t.Errorf("request %q: %v", m.Bytes(), err)
		return
	}
	c.symbols = r.Symbols
	answer := session.Message{Op: session.OpSubscribed, ID: r.ID, Symbols: r.Symbols}
	c.numbers = map[subject.Symbol]*numbered{}
	for i, symbol := range r.Symbols {
		if c.format == session.Compact {
			c.numbers[symbol] = &numbered{number: uint32(i + 1)}
			answer.Numbers = append(answer.Numbers, uint32(i+1))
		}
		if _, ok := s.newest[symbol]; !ok {
			answer.NoPrice = append(answer.NoPrice, symbol)
		}
	}
	s.say(c, &answer)
	for _, symbol := range r.Symbols {
		if t, ok := s.newest[symbol]; ok {
			s.write(c, c.encode(&t))
		}
	}
}

// encode gives a tick in the client's format.
func (c *client) encode(t *tick.Tick) []byte {
	if c.format != session.Compact {
		return session.AppendTick(c.format, nil, t)
	}
	n := c.numbers[t.Symbol]
	if n == nil { // one that was not asked for
		m := session.Message{Op: session.OpTick, Symbol: t.Symbol, Epoch: t.Epoch, Seq: t.Seq, Price: t.Price, TS: t.TS}
		return m.Append(session.Compact, nil)
	}
	before, digits := n.last, n.digits.Cover(t)
	changed := digits == n.digits && session.Follows(&before, t)
	n.last, n.digits = *t, digits
	if changed {
		return session.AppendChanged(nil, n.number, &before, t, digits)
	}
	return session.AppendFull(nil, n.number, t, digits)
}

func (s *server) say(c *client, m *session.Message) { s.write(c, m.Append(c.format, nil)) }

func (s *server) write(c *client, p []byte) {
	opcode := gws.OpcodeText
	if c.format != session.JSON {
		opcode = gws.OpcodeBinary
	}
	_ = c.conn.WriteMessage(opcode, p) // a client may be gone
}

// publish sends a symbol's price with this number to all who want it.
func (s *server) publish(symbol int, number uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := tick.Tick{Symbol: subject.Symbol(Symbol(symbol)), Position: tick.Position{Epoch: 1763769600, Seq: number + 100},
		Quote: tick.Quote{Price: tick.MustDecimal(Price(number)), TS: time.Now().UnixMicro()}}
	s.newest[t.Symbol] = t
	for _, c := range s.clients {
		if !slices.Contains(c.symbols, t.Symbol) {
			continue
		}
		c.sent++
		send := []tick.Tick{t}
		if s.fault != nil {
			send = s.fault(c, t)
		}
		for _, t := range send {
			s.write(c, c.encode(&t))
		}
	}
}

// each runs do for each client.
func (s *server) each(do func(c *client)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.clients {
		do(c)
	}
}

// awaitClients waits until so many are connected.
func (s *server) awaitClients(n int) {
	s.t.Helper()
	natstest.Eventually(s.t, time.Minute, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.clients) == n
	}, "%d clients", n)
}

func name(symbol int) subject.Symbol { return subject.Symbol(Symbol(symbol)) }
