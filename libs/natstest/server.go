package natstest

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tickfan/tickfan/libs/bus"
	"github.com/tickfan/tickfan/libs/natsd"
)

// Server is an embedded nats-server that can go away and come back. Its methods belong to the
// test's goroutine.
type Server struct {
	t       testing.TB
	options natsd.Options
	running *natsd.Server // nil while stopped
	url     string
}

// Start runs a server with JetStream, on a free port and with its store in t.TempDir. It ends
// with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	return StartWith(t, natsd.Options{JetStream: true})
}

// StartWith is Start with other options; a zero Port is a free one, and an empty StoreDir is
// made.
func StartWith(t testing.TB, o natsd.Options) *Server {
	t.Helper()
	if o.Port == 0 {
		o.Port = -1
	}
	if o.JetStream && o.StoreDir == "" {
		o.StoreDir = t.TempDir()
	}
	s := &Server{t: t, options: o}
	s.start()
	s.options.Port = s.running.Port() // Restart comes back on the same one
	s.url = s.running.URL()
	t.Cleanup(s.Stop)
	return s
}

// URL is where clients connect; it stays the same over restarts.
func (s *Server) URL() string { return s.url }

// Stop ends the server, if it runs, and waits until it has ended.
func (s *Server) Stop() {
	if s.running != nil {
		s.running.Close()
		s.running = nil
	}
}

// Restart stops the server, if it runs, and starts it on the same port and store.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	s.start()
}

func (s *Server) start() {
	s.t.Helper()
	running, err := natsd.Start(s.options)
	if err != nil {
		s.t.Fatalf("start nats-server: %v", err)
	}
	s.running = running
}

// Connect returns a connection, closed at the end of the test, before the server is.
func (s *Server) Connect(t testing.TB) *nats.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	nc, err := bus.Connect(ctx, bus.Options{URL: s.url, Name: t.Name(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(nc.Close)
	return nc
}
