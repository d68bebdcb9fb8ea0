//go:build linux

package baseline

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lxzan/gws"
	"go.uber.org/goleak"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/tests/stack"
)

const patience = 30 * time.Second

func TestMain(m *testing.M) {
	if IsServer() {
		os.Exit(Serve())
	}
	goleak.VerifyTestMain(m)
}

// listener is a client that keeps what it was sent.
type listener struct {
	gws.BuiltinEventHandler
	mu  sync.Mutex
	got []string
}

func (l *listener) OnMessage(_ *gws.Conn, m *gws.Message) {
	defer m.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.got = append(l.got, string(m.Bytes()))
}

func (l *listener) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.got)
}

func dial(t *testing.T, address string) (*gws.Conn, *listener) {
	t.Helper()
	l := &listener{}
	c, answer, err := gws.NewClient(l, &gws.ClientOption{Addr: "ws://" + address + "/v1/ws"})
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("answered %s", answer.Status)
	}
	done := make(chan struct{})
	go func() { defer close(done); c.ReadLoop() }()
	t.Cleanup(func() { _ = c.NetConn().Close(); <-done })
	return c, l
}

// Every client has every payload in order; pings and a client's end disturb none.
func TestEveryClientHasEveryPayload(t *testing.T) {
	for _, kind := range []Kind{Limit, GWS} {
		t.Run(string(kind), func(t *testing.T) {
			s := Start(t, kind, stack.Programs{})
			var clients []*listener
			for range 5 {
				c, l := dial(t, s.Address)
				if err := c.WritePing([]byte("?")); err != nil {
					t.Fatal(err)
				}
				clients = append(clients, l)
			}
			gone, _ := dial(t, s.Address)
			// Open means answered; that it is among those that are written to comes a moment later.
			greeted := 0
			natstest.Eventually(t, patience, func() bool {
				greeted++
				if err := s.Publish("", []byte("hello")); err != nil {
					t.Fatal(err)
				}
				return !slices.ContainsFunc(clients, func(l *listener) bool { return len(l.all()) == 0 })
			}, "each client hears a greeting")

			_ = gone.NetConn().Close()
			var want []string
			for i := range 200 {
				payload := fmt.Sprintf("%d %s", i, strings.Repeat("x", i*2)) // short and long frames
				want = append(want, payload)
				if err := s.Publish("", []byte(payload)); err != nil {
					t.Fatal(err)
				}
			}
			for i, l := range clients {
				natstest.Eventually(t, patience, func() bool { return slices.Contains(l.all(), want[len(want)-1]) }, "client %d has the last", i)
				got := slices.DeleteFunc(l.all(), func(s string) bool { return s == "hello" })
				if !slices.Equal(got, want) {
					t.Errorf("client %d has %d payloads of %d, or not in order", i, len(got), len(want))
				}
			}
		})
	}
}

// A server ends by itself when whoever started it is gone.
func TestServerEndsWithItsStarter(t *testing.T) {
	for _, kind := range []Kind{Limit, GWS} {
		s := Start(t, kind, stack.Programs{})
		if err := s.hangUp(); err != nil {
			t.Fatal(err)
		}
		natstest.Eventually(t, patience, func() bool { return !s.Running() }, "%s ends", kind)
	}
}
