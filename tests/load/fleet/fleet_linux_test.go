package fleet

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
)

// awaitReport looks at a crowd's report until it is as it should be.
func awaitReport(t *testing.T, f *Fleet, crowd string, what string, as func(r Report) bool) (r Report) {
	t.Helper()
	natstest.Eventually(t, patience, func() bool {
		r = f.Report()[crowd]
		return as(r)
	}, "%s", what)
	return r
}

// TestCrowds has two crowds in three workers: what is counted is counted of the right one, once, and in the window.
func TestCrowds(t *testing.T) {
	s := serve(t, nil)
	const symbols = 5
	for n := range symbols {
		s.publish(n, 1)
	}
	f := Start(t, 3)
	plan := Plan{Name: "json", Targets: []string{s.address, s.address}, Sockets: 10, Dialect: JSON, Symbols: symbols, Each: 2, MaxRate: 9, Rate: 1000}
	c := f.Connect(plan)
	if c.Asked != 10 || c.Ready != 10 || c.Failed != 0 || c.Refused != 0 || c.Took <= 0 || c.ReadyAfter.TotalCount() != 10 || len(c.Errors) != 0 {
		t.Fatalf("%+v", c)
	}
	plan.Name, plan.Sockets, plan.Dialect, plan.Each, plan.Mode, plan.MaxRate, plan.Rate = "msgpack", 4, MessagePack, 5, "every", 0, 0
	if c := f.Connect(plan); c.Ready != 4 {
		t.Fatalf("%+v", c)
	}
	s.each(func(c *client) {
		if want := 2 + 3*int(c.format); len(c.symbols) != want {
			t.Errorf("%s has %d symbols, want %d", c.format, len(c.symbols), want)
		}
	})
	if r := f.Report()["json"]; r.Snapshots != 20 || r.Deliveries != 0 || r.Latency.TotalCount() != 0 || r.Sockets != 10 {
		t.Errorf("before the window: %+v", r)
	}
	f.Window()
	finals := make([]uint64, symbols)
	for n := range symbols {
		s.publish(n, 2)
		finals[n] = 2
	}
	for _, crowd := range []struct {
		name       string
		sockets    int
		deliveries int64
	}{{"json", 10, 20}, {"msgpack", 4, 20}} {
		if v := f.Await(crowd.name, finals, patience); !v.OK() || v.Sockets != crowd.sockets {
			t.Errorf("%s: %s", crowd.name, v)
		}
		r := f.Report()[crowd.name]
		if r.Deliveries != crowd.deliveries || r.Ticks != r.Deliveries || r.Frames != r.Deliveries || r.Snapshots != 0 || r.Sockets != crowd.sockets ||
			r.Reads < 1 || r.Reads > r.Deliveries || r.Bytes != r.PayloadBytes+2*r.Frames {
			t.Errorf("%s: %+v", crowd.name, r.Traffic)
		}
		if r.Latency.TotalCount() != r.Deliveries || r.PayloadSize.TotalCount() != r.Deliveries || r.PayloadSize.Max() != r.PayloadBytes/r.Deliveries || r.CPU <= 0 {
			t.Errorf("%s: %d latencies, %d sizes up to %d, CPU %s", crowd.name, r.Latency.TotalCount(), r.PayloadSize.TotalCount(), r.PayloadSize.Max(), r.CPU)
		}
	}
	// Another price for one crowd alone is behind for the other.
	f.Disconnect("msgpack")
	s.awaitClients(10)
	s.publish(3, 3)
	finals[3] = 3
	if v := f.Await("json", finals, patience); !v.OK() {
		t.Errorf("%s", v)
	}
	if _, there := f.Report()["msgpack"]; there {
		t.Error("a crowd that is gone is reported")
	}
}

func TestRefusedAndFailed(t *testing.T) {
	s := serve(t, nil)
	f := Start(t, 2)
	c := f.Connect(Plan{Name: "path", Targets: []string{s.address}, Path: "/other", Sockets: 5, Dialect: JSON, Symbols: 1, Each: 1})
	if c.Refused != 5 || c.Ready != 0 || c.Failed != 0 || c.Errors["HTTP/1.1 503 Service Unavailable, too_many_clients"] != 5 {
		t.Errorf("%+v", c)
	}
	if v := f.Await("path", []uint64{0}, patience); v.OK() || v.Closed != 5 {
		t.Errorf("%s", v)
	}
	closed := script(t, func(p *peer) {})
	c = f.Connect(Plan{Name: "closed", Targets: []string{closed.address}, Sockets: 3, Dialect: JSON, Symbols: 1, Each: 1})
	if c.Failed != 3 || c.Ready != 0 || c.Refused != 0 {
		t.Errorf("%+v", c)
	}
	// Nobody listens on the port of a server that has ended.
	c = f.Connect(Plan{Name: "nobody", Targets: []string{"127.0.0.1:1"}, Sockets: 3, Dialect: Frames, Symbols: 1, Each: 1})
	if c.Failed != 3 || c.Ready != 0 {
		t.Errorf("%+v", c)
	}
	refusing := script(t, func(p *peer) {
		if _, ok := p.until(opText); ok {
			m := session.Message{Op: session.OpError, Code: "too_many_symbols", Message: "so many"}
			p.write(serverFrame(opText, m.Append(session.JSON, nil)))
			p.gone()
		}
	})
	c = f.Connect(Plan{Name: "refusing", Targets: []string{refusing.address}, Sockets: 3, Dialect: JSON, Symbols: 1, Each: 1})
	if c.Refused != 3 || c.Errors["too_many_symbols: so many"] != 3 {
		t.Errorf("%+v", c)
	}
}

// TestNotReady has a server that leaves out a snapshot.
func TestNotReady(t *testing.T) {
	s := script(t, func(p *peer) {
		p.until(opText)
		p.write(serverFrame(opText, []byte(`{"op":"subscribed","id":1,"symbols":["L0-USD","L1-USD","L2-USD"],"no_price":["L2-USD"]}`)))
		p.write(serverFrame(opText, priced(0, 1)))
		p.write(serverFrame(opText, priced(2, 1)))
		p.write(serverFrame(opText, priced(0, 2)))
	})
	f := Start(t, 1)
	c := f.Connect(Plan{Name: "all", Targets: []string{s.address}, Sockets: 2, Dialect: JSON, Symbols: 3, Each: 3})
	if c.Ready != 0 || c.Failed != 2 || c.Errors["the server ended the connection, without all snapshots"] != 2 {
		t.Errorf("%+v", c)
	}
}

// TestStalledAndSlow has clients that do not read: what is sent to them stays in the kernel until they read again, and
// then they end where the others do.
func TestStalledAndSlow(t *testing.T) {
	s := serve(t, nil)
	s.publish(0, 1)
	f := Start(t, 1)
	plan := Plan{Name: "all", Targets: []string{s.address}, Sockets: 4, Dialect: JSON, Symbols: 1, Each: 1}
	crowds := []string{"all", "stalled", "slow"}
	for i, crowd := range crowds {
		plan.Name, plan.ReadRate = crowd, []int{0, -1, 100}[i]
		if i > 0 {
			plan.RcvBuf = 4096
		}
		if c := f.Connect(plan); c.Ready != 4 {
			t.Fatalf("%s: %+v", crowd, c)
		}
	}
	f.Window()
	const last = 300 // 31 KB: less than the server's side of a socket takes
	for n := uint64(2); n <= last; n++ {
		s.publish(0, n)
	}
	finals := []uint64{last}
	if v := f.Await("all", finals, patience); !v.OK() {
		t.Errorf("%s", v)
	}
	if v := f.Await("stalled", finals, 0); v.Behind != 4 || v.Faults.Ticks != 4 {
		t.Errorf("stalled: %s, %d ticks", v, v.Faults.Ticks)
	}
	if v := f.Await("slow", finals, 0); v.Behind == 0 {
		t.Errorf("slow ones have 31 KB at once at 100 bytes a second: %s", v)
	}
	r := awaitReport(t, f, "slow", "slow ones read a little", func(r Report) bool { return r.Bytes > 0 })
	if r.Bytes > slowBytes*r.Reads {
		t.Errorf("slow ones read %d bytes in %d reads", r.Bytes, r.Reads)
	}
	for _, crowd := range crowds[1:] {
		f.Resume(crowd)
		if v := f.Await(crowd, finals, patience); !v.OK() || v.Faults.Ticks != 4*last {
			t.Errorf("%s: %s, %d ticks", crowd, v, v.Faults.Ticks)
		}
	}
}

func TestReconnect(t *testing.T) {
	for _, mode := range []string{"latest", "every"} {
		s := serve(t, nil)
		s.publish(0, 1)
		f := Start(t, 2)
		if c := f.Connect(Plan{Name: "all", Targets: []string{s.address}, Sockets: 10, Dialect: JSON, Symbols: 1, Each: 1, Mode: mode}); c.Ready != 10 {
			t.Fatalf("%+v", c)
		}
		s.publish(0, 2)
		for round := range 3 {
			if c := f.Reconnect("all", 6); c.Asked != 6 || c.Ready != 6 {
				t.Fatalf("round %d: %+v", round, c)
			}
			s.awaitClients(10)
			s.publish(0, uint64(3+round))
			v := f.Await("all", []uint64{uint64(3 + round)}, patience)
			if want := int64(10 + 6*(round+1)); !v.OK() || v.Faults.Snapshots != want {
				t.Errorf("round %d: %s, %d snapshots, want %d", round, v, v.Faults.Snapshots, want)
			}
		}
		if r := f.Report()["all"]; s.joined != 28 || r.Sockets != 10 || r.Closed != 0 {
			t.Errorf("%d connections, %d open, %d closed", s.joined, r.Sockets, r.Closed)
		}
	}
}

func TestPingsAndCloses(t *testing.T) {
	s := serve(t, nil)
	s.publish(0, 1)
	f := Start(t, 1)
	if c := f.Connect(Plan{Name: "all", Targets: []string{s.address}, Sockets: 3, Dialect: JSON, Symbols: 1, Each: 1}); c.Ready != 3 {
		t.Fatalf("%+v", c)
	}
	long := strings.Repeat("p", 125)
	s.each(func(c *client) {
		_ = c.conn.WritePing([]byte("are you there"))
		_ = c.conn.WritePing([]byte(long))
		s.say(c, &session.Message{Op: session.OpStale})
	})
	natstest.Eventually(t, patience, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.pongs) == 6
	}, "pongs")
	slices.Sort(s.pongs)
	if want := []string{"are you there", "are you there", "are you there", long, long, long}; !slices.Equal(s.pongs, want) {
		t.Errorf("%q", s.pongs)
	}
	if r := f.Report()["all"]; r.Pings != 6 || r.Stale != 3 {
		t.Errorf("%+v", r.Traffic)
	}
	n := 0
	s.each(func(c *client) {
		if n++; n == 1 {
			go func() { _ = c.conn.NetConn().Close() }()
		} else {
			go c.conn.WriteClose(4201, []byte("idle"))
		}
	})
	r := awaitReport(t, f, "all", "closes", func(r Report) bool { return r.Closed == 3 })
	if r.Sockets != 0 || r.CloseCodes[4201] != 2 || r.CloseCodes[1006] != 1 {
		t.Errorf("%d open, closed %v", r.Sockets, r.CloseCodes)
	}
	if v := f.Await("all", []uint64{1}, patience); v.Closed != 3 || v.OK() {
		t.Errorf("%s", v)
	}
	s.awaitClients(0)
}

// TestCompactWithoutItsStart has a server say what has changed of a number that it has not given.
func TestCompactWithoutItsStart(t *testing.T) {
	s := script(t, func(p *peer) {
		p.until(opBinary)
		m := session.Message{Op: session.OpSubscribed, Symbols: []subject.Symbol{name(0)}, NoPrice: []subject.Symbol{name(0)}, Numbers: []uint32{7}}
		p.write(serverFrame(opBinary, m.Append(session.Compact, nil)))
		p.write(serverFrame(opBinary, []byte{7, 0, 0}))
		p.gone()
	})
	f := Start(t, 1)
	if c := f.Connect(Plan{Name: "all", Targets: []string{s.address}, Sockets: 1, Dialect: Compact, Symbols: 1, Each: 1}); c.Ready != 1 {
		t.Fatalf("%+v", c)
	}
	awaitReport(t, f, "all", "the socket is closed", func(r Report) bool { return r.CloseCodes[1006] == 1 })
}

// TestPieces has frames and ticks come byte by byte, in one piece, and many in one, as TCP may bring them.
func TestPieces(t *testing.T) {
	for _, size := range []int{1, 2, 3, 50, 1 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			s := script(t, func(p *peer) {
				if payload, ok := p.until(opText); !ok || !strings.Contains(string(payload), `"symbols":["L0-USD","L1-USD"]`) {
					t.Errorf("subscribe: %q", payload)
				}
				all := serverFrame(opText, []byte(`{"op":"subscribed","id":1,"symbols":["L0-USD","L1-USD"],"no_price":["L1-USD"]}`))
				for n := range uint64(40) {
					all = append(all, serverFrame(opText, priced(int(n%2), n/2+1))...)
				}
				all = append(all, serverFrame(opPing, []byte("x"))...)
				_ = p.Conn.(interface{ SetNoDelay(bool) error }).SetNoDelay(true)
				for piece := range slices.Chunk(all, size) {
					p.write(piece)
				}
				if payload, ok := p.until(opPong); !ok || string(payload) != "x" {
					t.Errorf("pong: %q", payload)
				}
				p.gone()
			})
			f := Start(t, 1)
			if c := f.Connect(Plan{Name: "all", Targets: []string{s.address}, Sockets: 2, Dialect: JSON, Symbols: 2, Each: 2, Mode: "every"}); c.Ready != 2 {
				t.Fatalf("%+v", c)
			}
			v := f.Await("all", []uint64{20, 20}, patience)
			if !v.OK() || v.Faults.Ticks != 80 {
				t.Errorf("%s", v)
			}
		})
	}
}

// TestNATS splits messages over frames and joins them in frames.
func TestNATS(t *testing.T) {
	s := script(t, func(p *peer) {
		p.write(serverFrame(opBinary, []byte("INFO {\"server_id\":\"X\"}\r\n")))
		payload, ok := p.until(opBinary)
		if text := string(payload); !ok || !strings.HasPrefix(text, "CONNECT {") || !strings.HasSuffix(text, "\r\nSUB load.L0-USD 1\r\nSUB load.L1-USD 2\r\nPING\r\n") {
			t.Errorf("%q", text)
		}
		all := []byte("PONG\r\n")
		for n := range uint64(40) {
			text := priced(int(n%2), n/2+1)
			all = fmt.Appendf(all, "MSG load.L%d-USD %d %d\r\n%s\r\n", n%2, n%2+1, len(text), text)
		}
		all = append(all, "+OK\r\nPING\r\n"...)
		for piece := range slices.Chunk(all, 77) {
			p.write(serverFrame(opBinary, piece))
		}
		if payload, ok := p.until(opBinary); !ok || string(payload) != "PONG\r\n" {
			t.Errorf("%q", payload)
		}
		p.write(serverFrame(opBinary, []byte("-ERR 'Slow Consumer'\r\n")))
		p.gone()
	})
	f := Start(t, 1)
	if c := f.Connect(Plan{Name: "all", Targets: []string{s.address}, Sockets: 2, Dialect: NATS, Symbols: 2, Each: 2, Mode: "every"}); c.Ready != 2 {
		t.Fatalf("%+v", c)
	}
	v := f.Await("all", []uint64{20, 20}, patience)
	if !v.OK() || v.Faults.Ticks != 80 {
		t.Errorf("%s", v)
	}
	r := awaitReport(t, f, "all", "errors", func(r Report) bool { return r.Errors == 2 })
	if r.Deliveries != 80 || !slices.ContainsFunc(r.Examples, func(e string) bool { return strings.Contains(e, "Slow Consumer") }) {
		t.Errorf("%+v %q", r.Traffic, r.Examples)
	}
}

// TestGarbage has servers that break the protocol: their sockets are closed, and the worker lives.
func TestGarbage(t *testing.T) {
	f := Start(t, 1)
	for i, garbage := range []string{"\xff\xff", "\x81\x85abcdefghi", "\x01\x01{", "\x80\x01{"} {
		s := script(t, func(p *peer) {
			p.write([]byte(garbage))
			p.gone()
		})
		crowd := fmt.Sprint(i)
		if c := f.Connect(Plan{Name: crowd, Targets: []string{s.address}, Sockets: 1, Dialect: Frames, Symbols: 1, Each: 1}); c.Ready != 1 {
			t.Fatalf("%+v", c)
		}
		awaitReport(t, f, crowd, "a broken frame closes the socket", func(r Report) bool { return r.CloseCodes[1006] == 1 })
	}
	s := script(t, func(p *peer) {
		for _, text := range []string{`{"op":"tick"`, `nonsense`, ""} {
			p.write(serverFrame(opText, []byte(text)))
		}
		p.write(serverFrame(opText, priced(0, 1)))
		p.gone()
	})
	if c := f.Connect(Plan{Name: "text", Targets: []string{s.address}, Sockets: 1, Dialect: Frames, Symbols: 1, Each: 1}); c.Ready != 1 {
		t.Fatalf("%+v", c)
	}
	if v := f.Await("text", []uint64{1}, patience); v.Right != 1 {
		t.Errorf("%s", v)
	}
	if r := f.Report()["text"]; r.Errors != 3 || len(r.Examples) != 3 {
		t.Errorf("%+v %q", r.Traffic, r.Examples)
	}
}

// TestNamesGoBySeq has symbols and prices of the world.
func TestNamesGoBySeq(t *testing.T) {
	s := script(t, func(p *peer) {
		if payload, ok := p.until(opText); !ok || !strings.Contains(string(payload), `"symbols":["BTC-USDT","ETH-USDT"],"mode":"every"`) {
			t.Errorf("subscribe: %q", payload)
		}
		p.write(serverFrame(opText, []byte(`{"op":"subscribed","id":1,"symbols":["BTC-USDT","ETH-USDT"]}`)))
		for _, tick := range []string{
			`{"op":"tick","symbol":"BTC-USDT","epoch":5,"seq":7,"price":"64123.51","ts":1763769600123456}`,
			`{"op":"tick","symbol":"ETH-USDT","epoch":5,"seq":70,"price":"0.5","bid":"0.4","ts":1763769600123456}`,
			`{"op":"tick","symbol":"BTC-USDT","epoch":5,"seq":8,"price":"64123.51","ts":1763769600123456}`,
			`{"op":"tick","symbol":"ETH-USDT","epoch":5,"seq":72,"price":"0.5","ts":1763769600123456}`,
		} {
			p.write(serverFrame(opText, []byte(tick)))
		}
		p.gone()
	})
	f := Start(t, 1)
	plan := Plan{Name: "all", Targets: []string{s.address}, Sockets: 1, Dialect: JSON, Names: []string{"BTC-USDT", "ETH-USDT"}, Each: 2, Mode: "every"}
	if c := f.Connect(plan); c.Ready != 1 {
		t.Fatalf("%+v", c)
	}
	v := f.Await("all", []uint64{8, 72}, patience)
	if v.Right != 1 || v.Faults.Lost != 1 || v.Faults.Faults() != 1 {
		t.Errorf("%s", v)
	}
	if r := f.Report()["all"]; r.Deliveries != 2 || r.Latency.TotalCount() != 0 {
		t.Errorf("%d deliveries, %d latencies of prices that are older than the window", r.Deliveries, r.Latency.TotalCount())
	}
}

// TestSources connects more sockets than come from one address.
func TestSources(t *testing.T) {
	s := serve(t, nil)
	f := Start(t, 1)
	f.connected = perSource - 2
	if c := f.Connect(Plan{Name: "all", Targets: []string{s.address}, Sockets: 4, Dialect: JSON, Symbols: 1, Each: 1}); c.Ready != 4 {
		t.Fatalf("%+v", c)
	}
	from := map[string]int{}
	s.awaitClients(4)
	s.each(func(c *client) {
		host, _, _ := strings.Cut(c.conn.RemoteAddr().String(), ":")
		from[host]++
	})
	if from["127.0.0.1"] != 2 || from["127.0.0.2"] != 2 {
		t.Errorf("%v", from)
	}
}
