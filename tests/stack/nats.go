package stack

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tickfan/tickfan/libs/natstest"
)

// NATS is a nats-server with JetStream. It keeps its port and its streams over restarts.
type NATS struct {
	*Process
	url   string
	store string

	Routes []*natstest.Cable // its ways to the others of its cluster, and theirs to it

	noDisk error // why there is no disk of its own
	filler string
}

// config is what Tickfan asks of a server, see the comments of libs/natsd, which the all-in-one uses instead.
const config = `
server_name: %s
listen: "127.0.0.1:%d"
jetstream {
	store_dir: %q
	domain: local
	sync_interval: 10s
}
no_fast_producer_stall: true
ping_interval: 5s
ping_max: 2
`

func newNATS(t testing.TB, p Programs) *NATS { t.Helper(); return newServer(t, p, "nats-server") }

func newServer(t testing.TB, p Programs, name string) *NATS {
	t.Helper()
	dir := t.TempDir()
	port := restartablePort(t)
	store := filepath.Join(dir, "jetstream")
	file := filepath.Join(dir, "nats.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, config, name, port, store), 0o600); err != nil {
		t.Fatal(err)
	}
	return &NATS{Process: newProcess(t, name, p.Path("nats-server"), "-c", file), url: "nats://127.0.0.1:" + strconv.Itoa(port), store: store}
}

// Start runs it and waits until it takes clients.
func (n *NATS) Start() {
	n.t.Helper()
	n.Process.Start()
	n.Await(`Server is ready`)
}

// Store is the folder with its streams.
func (n *NATS) Store() string { return n.store }

// URL is where clients connect.
func (n *NATS) URL() string { return n.url }

// Connect is a plain client's connection, which comes back after restarts. It is closed with the test.
func (n *NATS) Connect(t testing.TB) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(n.url, nats.Name(t.Name()), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // stays off stderr
	if err != nil {
		t.Fatalf("connect to NATS: %v", err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// restartablePort finds a free port below those that systems give to outgoing connections, so that none of these has it
// when its owner comes back.
func restartablePort(t testing.TB) int {
	t.Helper()
	const from, to = 10_000, 30_000
	for range 100 {
		port := from + rand.IntN(to-from)
		ln, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err == nil {
			_ = ln.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}
