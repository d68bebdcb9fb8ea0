package natstest_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/libs/bus"
	"github.com/tickfan/tickfan/libs/natstest"
)

func TestRestartKeepsPortAndStore(t *testing.T) {
	s := natstest.Start(t)
	nc := s.Connect(t)
	js, err := bus.JetStream(t.Context(), nc)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "B", Storage: jetstream.FileStorage})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.PutString(t.Context(), "k", "v"); err != nil {
		t.Fatal(err)
	}
	url := s.URL()

	s.Stop()
	natstest.Eventually(t, 5*time.Second, func() bool { return nc.Status() == nats.RECONNECTING }, "the connection is cut")
	s.Restart()

	if s.URL() != url {
		t.Errorf("URL %s, was %s", s.URL(), url)
	}
	natstest.Eventually(t, 5*time.Second, nc.IsConnected, "connected to %s again", url)
	if e, err := kv.Get(t.Context(), "k"); err != nil || string(e.Value()) != "v" {
		t.Errorf("after restart: %v, %v", e, err)
	}
}

func TestCable(t *testing.T) {
	s := natstest.Start(t)
	cable := natstest.NewCable(t, s.URL())
	connect := func(url string) *nats.Conn {
		nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	behind, beside := connect(cable.URL()), connect(s.URL())

	cable.Cut()
	natstest.Eventually(t, 5*time.Second, func() bool { return behind.Status() == nats.RECONNECTING }, "the cable is cut")
	if beside.Status() != nats.CONNECTED || beside.Reconnects != 0 {
		t.Error("a connection beside the cable was cut")
	}
	cable.Mend()
	natstest.Eventually(t, 5*time.Second, behind.IsConnected, "the cable carries again")
}

// fakeTB stands in for the test that Eventually would end.
type fakeTB struct {
	testing.TB
	failed bool
}

func (f *fakeTB) Helper()               {}
func (f *fakeTB) Fatalf(string, ...any) { f.failed = true }

func TestEventually(t *testing.T) {
	f := &fakeTB{TB: t}
	n := 0
	natstest.Eventually(f, 5*time.Second, func() bool { n++; return n == 3 }, "third look")
	if f.failed || n != 3 {
		t.Errorf("failed %v after %d looks", f.failed, n)
	}
	natstest.Eventually(f, 10*time.Millisecond, func() bool { return false }, "never")
	if !f.failed {
		t.Error("no failure")
	}
}
