package stack

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
)

// Options say what to start.
type Options struct {
	Programs Programs
	Edges    int      // default 2
	Ingest   []string // more flags of ingest
	Edge     []string // more flags of each edge
	Env      []string // more variables of each service
}

// Stack is one region:
//
//	ingest --> nats-server --> router --> nats-server --> edge-a, edge-b, …
//	                             registry
type Stack struct {
	t testing.TB

	NATS     *NATS
	Registry *Service
	Ingest   *Service
	Router   *Service
	Edges    []*Service
}

// Start starts all of it and returns when each part is ready. It ends with the test.
func Start(t testing.TB, o Options) *Stack {
	t.Helper()
	if o.Edges == 0 {
		o.Edges = 2
	}
	s := &Stack{t: t, NATS: newNATS(t, o.Programs)}
	s.NATS.Start()
	url := s.NATS.URL()
	s.Registry = newService(t, o.Programs, "registry", "registry", url)
	s.Ingest = newService(t, o.Programs, "ingest", "ingest", url, o.Ingest...)
	s.Router = newService(t, o.Programs, "router", "router", url)
	for i := range o.Edges {
		name := fmt.Sprintf("edge-%c", 'a'+i)
		s.Edges = append(s.Edges, newService(t, o.Programs, name, "edge", url, append([]string{"--name", name}, o.Edge...)...))
	}
	all := s.Services()
	for _, p := range all {
		p.env = append(p.env, o.Env...)
		p.Start()
	}
	for _, p := range all {
		p.AwaitReady()
	}
	return s
}

// Services are all processes of Tickfan's, in the order in which they are started.
func (s *Stack) Services() []*Service {
	return append([]*Service{s.Registry, s.Ingest, s.Router}, s.Edges...)
}

// Connect is a plain client's connection to NATS, closed with the test.
func (s *Stack) Connect() *nats.Conn { return s.NATS.Connect(s.t) }
