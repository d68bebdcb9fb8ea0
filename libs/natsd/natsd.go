package natsd

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/tickfan/tickfan/libs/ops"
)

const (
	pingInterval = 5 * time.Second
	pingMax      = 2

	// startTimeout is how long the server may take until it accepts clients. With a large
	// store on a slow disk the recovery of streams comes first.
	startTimeout = 30 * time.Second

	// syncInterval is how often JetStream's files are synced to disk. An acknowledged write
	// that was not synced is lost with the power, whole streams included. Nothing in Tickfan
	// trusts an ack across a power loss, so syncing each write would buy nothing and cost a
	// disk's latency each; the server's default of two minutes would throw away that much
	// price history. Ten seconds costs one sync of the changed files now and then.
	syncInterval = 10 * time.Second
)

// Options say what server to start. The zero value is one on 127.0.0.1:4222 without
// JetStream.
type Options struct {
	Host string // where it listens; default 127.0.0.1
	Port int    // default 4222; -1 is any free one
	Name string // shown by nats CLI and logs; default made up by the server

	HTTPPort int // port of the monitor on Host; 0 is none, -1 any free one

	JetStream bool
	StoreDir  string // JetStream's folder; needed with JetStream
	Domain    string // JetStream's domain, the region's name; default none

	// Username and Password are asked of every client unless Username is empty.
	Username, Password string

	// Log takes the server's own log: what it calls a notice at debug. Nil is none.
	Log *slog.Logger
}

// Server is a running nats-server.
type Server struct{ server *server.Server }

// Start runs a server and returns when it accepts clients. A taken port gives an
// *ops.PortTakenError within the error, naming --nats-port. The caller closes it.
func Start(o Options) (*Server, error) {
	o.Host = cmp.Or(o.Host, "127.0.0.1")
	o.Port = cmp.Or(o.Port, server.DEFAULT_PORT)
	if o.JetStream && o.StoreDir == "" {
		return nil, errors.New("start nats-server: JetStream needs a StoreDir")
	}
	if err := checkPort(o.Host, o.Port); err != nil {
		return nil, fmt.Errorf("start nats-server: %w", err)
	}
	s, err := server.NewServer(&server.Options{
		ServerName:      o.Name,
		Host:            o.Host,
		Port:            o.Port,
		HTTPHost:        o.Host,
		HTTPPort:        o.HTTPPort,
		Username:        o.Username,
		Password:        o.Password,
		JetStream:       o.JetStream,
		StoreDir:        o.StoreDir,
		JetStreamDomain: o.Domain,
		SyncInterval:    syncInterval,
		PingInterval:    pingInterval,
		MaxPingsOut:     pingMax,
		// By default the server slows a publisher whose reader lags; one lagging edge
		// would slow ingest, and with it every price.
		NoFastProducerStall: true,
		NoSigs:              true, // signals belong to the process, not to its server
	})
	if err != nil {
		return nil, fmt.Errorf("start nats-server: %w", err)
	}
	log := newLogger(o.Log)
	s.SetLoggerV2(log, false, false, false)
	s.Start()
	if err := awaitReady(s, log.fatal); err != nil {
		s.Shutdown()
		s.WaitForShutdown()
		return nil, fmt.Errorf("start nats-server: %w", err)
	}
	return &Server{server: s}, nil
}

// awaitReady waits until the server accepts clients. What it cannot start with it tells only
// its log, so that is where the error comes from.
func awaitReady(s *server.Server, fatal <-chan string) error {
	for deadline := time.Now().Add(startTimeout); ; {
		ready := s.ReadyForConnections(100 * time.Millisecond)
		select {
		case why := <-fatal:
			return errors.New(why)
		default:
		}
		switch {
		case ready:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("not ready within %s; its log may say why", startTimeout)
		}
	}
}

// URL is where clients connect, nats://host:port, without credentials.
func (s *Server) URL() string { return s.server.ClientURL() }

// Port is the port clients connect to, the real one where any free one was asked for.
func (s *Server) Port() int {
	if addr, ok := s.server.Addr().(*net.TCPAddr); ok {
		return addr.Port
	}
	return 0
}

// MonitorURL is the address of the monitor, http://host:port, or "" when there is none.
func (s *Server) MonitorURL() string {
	addr := s.server.MonitorAddr()
	if addr == nil {
		return ""
	}
	return "http://" + addr.String()
}

// Close stops the server, which ends every client's connection, and waits until its
// goroutines are gone and its files are closed.
func (s *Server) Close() {
	s.server.Shutdown()
	s.server.WaitForShutdown()
}

// checkPort finds a taken port before the server does: the server would log it as fatal and
// leave the caller to guess. The flag takes a bare port, so the example is one.
func checkPort(host string, port int) error {
	if port < 0 {
		return nil
	}
	ln, err := ops.Listen("--nats-port", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		if taken, ok := errors.AsType[*ops.PortTakenError](err); ok && taken.Example != "" {
			_, taken.Example, _ = net.SplitHostPort(taken.Example)
		}
		return err
	}
	return ln.Close()
}
