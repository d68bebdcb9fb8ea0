package bus_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/libs/bus"
	"github.com/tickfan/tickfan/libs/natsd"
	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/libs/ops"
)

// logBuffer is a log that a test may read while it is written.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func (b *logBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

func newMux(t *testing.T) *ops.Mux {
	t.Helper()
	mux, err := ops.New("test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mux.Close(context.Background()) })
	return mux
}

// metrics is what an operator scrapes, readyz what he asks.
func metrics(mux *ops.Mux) string { return get(mux, "/metrics") }
func readyz(mux *ops.Mux) string  { return get(mux, "/readyz") }

func get(mux *ops.Mux, path string) string {
	rec := httptest.NewRecorder()
	mux.Handler().ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
	return rec.Body.String()
}

// metric says whether a series of that name, with that label, has that value.
func metric(mux *ops.Mux, name, label, value string) bool {
	for line := range strings.Lines(metrics(mux)) {
		if strings.HasPrefix(line, name+"{") && strings.Contains(line, label) && strings.HasSuffix(strings.TrimSpace(line), "} "+value) {
			return true
		}
	}
	return false
}

func connect(t *testing.T, o bus.Options) *nats.Conn {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Name = "test"
	nc, err := bus.Connect(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func TestReconnect(t *testing.T) {
	t.Parallel() // it takes as long as ops.Grace
	s := natstest.Start(t)
	mux := newMux(t)
	condition := mux.Condition("nats")
	var log logBuffer
	var reconnects atomic.Int32
	nc := connect(t, bus.Options{
		URL: s.URL(), Log: log.logger(), Meter: mux.Meter("test"), Condition: condition,
		OnReconnect: func() { reconnects.Add(1) },
	})
	natstest.Eventually(t, 5*time.Second, mux.Ready, "ready once connected")

	s.Stop()
	natstest.Eventually(t, 5*time.Second, func() bool { return strings.Contains(readyz(mux), "connection to NATS cut: ") }, "/readyz tells at once")
	if !mux.Ready() {
		t.Error("not ready at once: a server of a cluster may die")
	}
	natstest.Eventually(t, 2*ops.Grace, func() bool { return !mux.Ready() }, "not ready after a while")
	if body := readyz(mux); !strings.Contains(body, `"reason":"connection to NATS cut: `) {
		t.Error(body)
	}
	natstest.Eventually(t, 5*time.Second, func() bool { return strings.Contains(log.String(), "is nats-server running?") }, "the log says that NATS is away")
	s.Restart()
	natstest.Eventually(t, 5*time.Second, mux.Ready, "ready again")
	natstest.Eventually(t, 5*time.Second, func() bool { return reconnects.Load() == 1 }, "OnReconnect was called")
	if !metric(mux, "tickfan_nats_reconnects_total", `connection="test"`, "1") || !metric(mux, "tickfan_nats_disconnects_total", `connection="test"`, "1") {
		t.Error(metrics(mux))
	}
	nc.Close()
	natstest.Eventually(t, 5*time.Second, func() bool { return !mux.Ready() }, "not ready after Close")
}

func TestConnectWaitsForServer(t *testing.T) {
	s := natstest.Start(t)
	s.Stop()
	var log logBuffer
	mux := newMux(t)
	condition := mux.Condition("nats")
	type result struct {
		nc  *nats.Conn
		err error
	}
	done := make(chan result, 1)
	go func() {
		nc, err := bus.Connect(t.Context(), bus.Options{URL: s.URL(), Name: "early", Log: log.logger(), Condition: condition})
		done <- result{nc, err}
	}()
	natstest.Eventually(t, 5*time.Second, func() bool { return strings.Contains(log.String(), "NATS not reachable at "+s.URL()) }, "the log says so at once")
	if mux.Ready() {
		t.Error("ready without NATS")
	}
	s.Restart()
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	defer r.nc.Close()
	natstest.Eventually(t, 5*time.Second, mux.Ready, "ready once connected")
	if n := strings.Count(log.String(), "not reachable"); n != 1 {
		t.Errorf("%d lines about one absence:\n%s", n, &log)
	}
}

func TestConnectEndsWithContext(t *testing.T) {
	s := natstest.Start(t)
	s.Stop()
	cause := errors.New("told to stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	var log logBuffer
	done := make(chan error, 1)
	go func() {
		_, err := bus.Connect(ctx, bus.Options{URL: s.URL(), Log: log.logger()})
		done <- err
	}()
	natstest.Eventually(t, 5*time.Second, func() bool { return log.String() != "" }, "one attempt")
	cancel(cause)
	if err := <-done; !errors.Is(err, cause) {
		t.Error(err)
	}
}

// A server that takes connections and says nothing is given up at once, and so are the others.
func TestConnectToMuteServersEndsWithContext(t *testing.T) {
	var urls []string
	accepted := make(chan struct{}, 8)
	for range 8 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		all.Go(func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				accepted <- struct{}{}
				all.Go(func() { _, _ = io.Copy(io.Discard, conn); conn.Close() })
			}
		})
		t.Cleanup(func() { ln.Close(); all.Wait() })
		urls = append(urls, ln.Addr().String())
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	told := errors.New("told to stop")
	ended := make(chan error, 1)
	go func() {
		_, err := bus.Connect(ctx, bus.Options{URL: strings.Join(urls, ","), Name: "test", Log: slog.New(slog.DiscardHandler)})
		ended <- err
	}()
	<-accepted
	cancel(told)
	select {
	case err := <-ended:
		if !errors.Is(err, told) {
			t.Errorf("got %v", err)
		}
	case <-time.After(5 * time.Second): // eight times 2 s is what they would take
		t.Error("Connect goes on 5 s after its context ended")
		<-ended
	}
}

// A server that hangs takes nothing more once the sockets are full. It is found out by that, not a minute later.
func TestHungServerIsLeft(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	hung := make(chan net.Conn, 1)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, "INFO {\"max_payload\":1048576}\r\n")
		for r := bufio.NewReader(conn); ; {
			if line, err := r.ReadString('\n'); err != nil || line == "PING\r\n" {
				break
			}
		}
		_, _ = io.WriteString(conn, "PONG\r\n")
		hung <- conn
	}()
	nc := connect(t, bus.Options{URL: "nats://" + ln.Addr().String(), Ticks: true})
	defer (<-hung).Close()
	refused := make(chan error, 1)
	go func() {
		for payload := make([]byte, 64<<10); ; {
			if err := nc.Publish("ticks.X", payload); err != nil {
				refused <- err
				return
			}
		}
	}()
	select {
	case <-refused:
	case <-time.After(20 * time.Second):
		t.Fatal("Publish blocks for 20 s")
	}
	natstest.Eventually(t, 10*time.Second, func() bool { return !nc.IsConnected() }, "the connection is given up")
}

func TestWrongCredentials(t *testing.T) {
	s := natstest.StartWith(t, natsd.Options{Username: "tickfan", Password: "right"})
	host := strings.TrimPrefix(s.URL(), "nats://")
	for _, user := range []string{"", "tickfan:wrong@", "token@"} {
		_, err := bus.Connect(t.Context(), bus.Options{URL: "nats://" + user + host, Log: slog.New(slog.DiscardHandler)})
		if !errors.Is(err, nats.ErrAuthorization) || !strings.Contains(err.Error(), "--nats") ||
			strings.Contains(err.Error(), "wrong") || strings.Contains(err.Error(), "token@") {
			t.Errorf("%q: %v", user, err)
		}
	}
	connect(t, bus.Options{URL: "nats://tickfan:right@" + host})
}

// Who is told to stop has no use for a warning that NATS has stopped, too.
func TestCutWhileStoppingIsNoWarning(t *testing.T) {
	for _, stopping := range []bool{false, true} {
		s := natstest.Start(t)
		var log logBuffer
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		nc, err := bus.Connect(ctx, bus.Options{URL: s.URL(), Name: "test", Log: log.logger()})
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		want := `level=WARN msg="connection to NATS cut"`
		if stopping {
			cancel()
			want = `level=INFO msg="connection to NATS cut"`
		}
		s.Stop()
		natstest.Eventually(t, 5*time.Second, func() bool { return strings.Contains(log.String(), want) }, "%s in the log", want)
	}
}

// oldServer is what a nats-server of that version says first.
func oldServer(t *testing.T, version string) (url string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, `INFO {"version":"`+version+`","max_payload":1048576}`+"\r\n")
		for r := bufio.NewReader(conn); ; {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			if line == "PING\r\n" {
				_, _ = io.WriteString(conn, "PONG\r\n")
			}
		}
	})
	t.Cleanup(func() { ln.Close(); all.Wait() })
	return "nats://" + ln.Addr().String()
}

func TestServerTooOld(t *testing.T) {
	for version, old := range map[string]bool{
		"2.10.29": true, "1.4.1": true, "2.9.0-beta": true,
		"2.11.0": false, "2.11.0-RC.1": false, "2.15.2": false, "3.0.0": false, "": false, "dev": false,
	} {
		nc, err := bus.Connect(t.Context(), bus.Options{URL: oldServer(t, version), Name: "test", Log: slog.New(slog.DiscardHandler)})
		if err == nil {
			nc.Close()
		}
		if (err != nil) != old || old && !strings.Contains(err.Error(), "nats-server "+version+" is too old: 2.11 or newer is needed") {
			t.Errorf("%q: %v", version, err)
		}
	}
}

func TestBadURL(t *testing.T) {
	for _, url := range []string{"", "nats://", "nats://u:secret@h:port", "nats://a:1,,nats://b:2"} {
		_, err := bus.Connect(t.Context(), bus.Options{URL: url, Log: slog.New(slog.DiscardHandler)})
		if err == nil || !strings.Contains(err.Error(), "--nats") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", url, err)
		}
	}
}

// A price published while the connection is cut must fail, and never arrive later.
func TestTicksAreRefusedWhileCut(t *testing.T) {
	s := natstest.Start(t)
	ticks := connect(t, bus.Options{URL: s.URL(), Ticks: true})
	other := connect(t, bus.Options{URL: s.URL()})
	s.Stop()
	natstest.Eventually(t, 5*time.Second, func() bool { return ticks.IsReconnecting() && other.IsReconnecting() }, "both are cut")
	if err := ticks.Publish("ticks.A", nil); !errors.Is(err, nats.ErrReconnectBufExceeded) {
		t.Errorf("tick path: %v", err)
	}
	if err := other.Publish("control.A", nil); err != nil {
		t.Errorf("other: %v", err)
	}
}

func TestJetStreamOff(t *testing.T) {
	s := natstest.StartWith(t, natsd.Options{})
	_, err := bus.JetStream(t.Context(), s.Connect(t))
	if !errors.Is(err, jetstream.ErrJetStreamNotEnabled) || !strings.Contains(err.Error(), "JetStream is off at "+s.URL()+": start nats-server with -js") {
		t.Error(err)
	}
}

func TestJetStreamWaitsWhileCut(t *testing.T) {
	s := natstest.Start(t)
	nc := s.Connect(t)
	s.Stop()
	natstest.Eventually(t, 5*time.Second, nc.IsReconnecting, "cut")
	done := make(chan error, 1)
	go func() {
		_, err := bus.JetStream(t.Context(), nc)
		done <- err
	}()
	s.Restart()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestJetStreamEndsWithContextAndConnection(t *testing.T) {
	s := natstest.StartWith(t, natsd.Options{})
	nc := s.Connect(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := bus.JetStream(ctx, nc); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	nc.Close()
	if _, err := bus.JetStream(t.Context(), nc); !errors.Is(err, nats.ErrConnectionClosed) {
		t.Error(err)
	}
}

func TestDropsAndSlowConsumer(t *testing.T) {
	s := natstest.Start(t)
	mux := newMux(t)
	var log logBuffer
	nc := connect(t, bus.Options{URL: s.URL(), Log: log.logger(), Meter: mux.Meter("test")})
	drops, err := bus.NewDrops(mux.Meter("test"))
	if err != nil {
		t.Fatal(err)
	}
	var stops []func()
	for range 2 {
		sub, err := nc.SubscribeSync("ticks.>")
		if err != nil {
			t.Fatal(err)
		}
		if err := sub.SetPendingLimits(2, -1); err != nil {
			t.Fatal(err)
		}
		stops = append(stops, drops.Watch("ticks", sub))
		t.Cleanup(func() { _ = sub.Unsubscribe() })
	}
	for range 5 {
		if err := nc.Publish("ticks.A", nil); err != nil {
			t.Fatal(err)
		}
	}
	natstest.Eventually(t, 5*time.Second, func() bool { return drops.Count("ticks") == 6 }, "3 dropped of each")
	natstest.Eventually(t, 5*time.Second, func() bool {
		return metric(mux, "tickfan_nats_dropped_total", `subscription="ticks"`, "6") &&
			metric(mux, "tickfan_nats_errors_total", `kind="slow_consumer"`, "2")
	}, "the counters say so")
	if n := strings.Count(log.String(), "kind=slow_consumer"); n != 1 {
		t.Errorf("%d log lines:\n%s", n, &log)
	}
	// A counter never falls.
	stops[0]()
	stops[0]()
	nc.Close()
	if n := drops.Count("ticks"); n != 6 {
		t.Errorf("%d after the end of the subscriptions", n)
	}
	stops[1]()
	if n := drops.Count("ticks"); n != 6 {
		t.Errorf("%d after all stopped", n)
	}
	if err := drops.Close(); err != nil {
		t.Error(err)
	}
}
