//go:build linux

package baseline

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tickfan/tickfan/tests/load/fleet"
	"github.com/tickfan/tickfan/tests/stack"
)

// Kind is which server.
type Kind string

const (
	Limit Kind = "limit"
	GWS   Kind = "gws"
	NATS  Kind = "nats"
)

// sendTime is how long a server may take to take a payload.
const sendTime = 10 * time.Second

// Server is one that runs. It ends with the test.
type Server struct {
	*stack.Process

	// Address is where clients connect: host:port.
	Address string
	// Dialect is what it speaks.
	Dialect fleet.Dialect

	publish func(symbol string, payload []byte) error
	hangUp  func() error // ends what payloads are sent on
}

// Start starts a server of a kind and returns when it takes clients.
func Start(t testing.TB, kind Kind, p stack.Programs) *Server {
	t.Helper()
	if kind == NATS {
		return startNATS(t, p)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatalf("start %s: %v", kind, err)
	}
	proc := stack.NewProcess(t, string(kind), self, []string{serverVariable + "=" + string(kind)})
	proc.Start()
	ports := proc.Await(`clients=(\S+) payloads=(\S+)`)
	feed, err := net.DialTimeout("tcp", ports[1], sendTime)
	if err != nil {
		t.Fatalf("start %s: %v", kind, err)
	}
	t.Cleanup(func() { _ = feed.Close() })
	s := &Server{Process: proc, Address: ports[0], Dialect: fleet.Frames, hangUp: feed.Close}
	var line []byte
	s.publish = func(_ string, payload []byte) error {
		line = append(binary.BigEndian.AppendUint32(line[:0], uint32(len(payload))), payload...)
		if err := feed.SetWriteDeadline(time.Now().Add(sendTime)); err != nil {
			return err
		}
		_, err := feed.Write(line)
		return err
	}
	return s
}

// config leaves all at its default but the ports and no_tls, which a WebSocket without TLS must ask for.
const config = `
server_name: baseline
listen: "127.0.0.1:-1"
websocket {
	listen: "127.0.0.1:-1"
	no_tls: true
}
`

func startNATS(t testing.TB, p stack.Programs) *Server {
	t.Helper()
	file := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	proc := stack.NewProcess(t, "nats-websocket", p.Path("nats-server"), nil, "-c", file)
	proc.Start()
	proc.Await(`Server is ready`)
	url := "nats://" + proc.Await(`Listening for client connections on (\S+)`)[0]
	address := proc.Await(`Listening for websocket clients on ws://(\S+)`)[0]
	nc, err := nats.Connect(url, nats.Name(t.Name()), nats.NoReconnect())
	if err != nil {
		t.Fatalf("connect to NATS: %v", err)
	}
	t.Cleanup(nc.Close)
	return &Server{Process: proc, Address: address, Dialect: fleet.NATS, publish: func(symbol string, payload []byte) error {
		return nc.Publish(fleet.Subject(symbol), payload)
	}}
}

// Publish sends a payload to every client.
func (s *Server) Publish(symbol string, payload []byte) error {
	if err := s.publish(symbol, payload); err != nil {
		return fmt.Errorf("publish to %s: %w", s.Name(), err)
	}
	return nil
}
