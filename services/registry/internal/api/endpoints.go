package api

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/nats-io/nats.go/micro"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
)

func (s *Service) endpoints() []endpoint {
	return []endpoint{{
		name: subject.EndpointInterest, subject: subject.EndpointInterest, read: s.interest,
		request: "the changed parts of a bucket's interest, each whole", response: "the number, once all stand in KV",
	}, {
		name: subject.EndpointHeartbeat, subject: subject.EndpointHeartbeat, read: s.heartbeat,
		request: "an edge and its buckets; stopping ends its lease", response: "how long the lease lasts, and lost buckets",
	}, {
		name: subject.EndpointLocate, subject: subject.EndpointLocate, read: now(s.locate),
		request: "none", response: "the least loaded edge that takes clients",
	}, {
		name: subject.EndpointEdges, subject: subject.EndpointEdges, read: now(s.edges),
		request: "none", response: "the leases of the live edges",
	}, {
		name: subject.EndpointBuckets, subject: subject.EndpointBuckets, read: now(s.buckets),
		request: "none", response: "the buckets and how much each wants",
	}, {
		name: subject.EndpointSymbol, subject: subject.EndpointSymbol + ".*", read: now(s.symbol),
		request: "none; the subject ends with the symbol", response: "the buckets that want it",
	}, {
		name: subject.EndpointDrain, subject: subject.EndpointDrain + ".*", read: s.drain,
		request: "none; the subject ends with the edge's id", response: "the edge, which hears of it with its next heartbeat",
	}}
}

// now is an endpoint that has its answer at hand.
func now(answer func(micro.Request) (any, error)) func(micro.Request) (any, workFunc, error) {
	return func(r micro.Request) (any, workFunc, error) {
		a, err := answer(r)
		return a, nil, err
	}
}

// decode reads a request's JSON into to.
func decode(r micro.Request, to interface{ Validate() error }) error {
	if err := json.Unmarshal(r.Data(), to); err != nil {
		return code.Errorf(code.BadMessage, "payload %s: %v", code.Quote(r.Data()), err)
	}
	return to.Validate()
}

func (s *Service) interest(r micro.Request) (any, workFunc, error) {
	var req control.InterestRequest
	if err := decode(r, &req); err != nil {
		return nil, nil, err
	}
	return nil, func(ctx context.Context) (any, error) {
		if err := s.o.Parts.Change(ctx, &req); err != nil {
			return nil, s.unavailable("interest not written", err)
		}
		return control.InterestAnswer{Number: req.Number}, nil
	}, nil
}

func (s *Service) heartbeat(r micro.Request) (any, workFunc, error) {
	var beat control.Heartbeat
	if err := decode(r, &beat); err != nil {
		return nil, nil, err
	}
	if beat.Stopping {
		return nil, func(ctx context.Context) (any, error) { return s.stopping(ctx, &beat) }, nil
	}
	return nil, func(ctx context.Context) (any, error) { return s.alive(ctx, &beat) }, nil
}

func (s *Service) alive(ctx context.Context, beat *control.Heartbeat) (any, error) {
	drain, err := s.o.Leases.Renew(ctx, control.Lease{
		Edge:        beat.Edge,
		Address:     beat.Address,
		Capacity:    beat.Capacity,
		Connections: beat.Connections,
		Draining:    beat.Draining,
		Buckets:     beat.Buckets,
	})
	if err != nil {
		return nil, s.unavailable("lease not renewed", err)
	}
	lost, err := s.o.Parts.Lost(ctx, beat.Buckets)
	if err != nil {
		// The lease stands; what cannot be known now is asked at the next heartbeat.
		s.fault("heartbeat", err)
	}
	return control.HeartbeatAnswer{TTL: s.o.Leases.TTL().Milliseconds(), Lost: lost, Drain: drain, Others: s.o.Leases.Others(beat.Edge)}, nil
}

func (s *Service) drain(r micro.Request) (any, workFunc, error) {
	edge, err := subject.ParseEdge(lastToken(r.Subject()))
	if err != nil {
		return nil, nil, err
	}
	return nil, func(ctx context.Context) (any, error) {
		found, err := s.o.Leases.Drain(ctx, edge)
		switch {
		case err != nil:
			return nil, s.unavailable("edge not told", err)
		case !found:
			return nil, code.Errorf(code.NoEdge, "edge %s has no lease here", edge)
		}
		return control.DrainAnswer{Edge: edge}, nil
	}, nil
}

func lastToken(subj string) string { return subj[strings.LastIndexByte(subj, '.')+1:] }

// stopping ends the lease first: an edge that is not to be located any more may still have interest, but not the
// reverse.
func (s *Service) stopping(ctx context.Context, beat *control.Heartbeat) (any, error) {
	if err := s.o.Leases.End(ctx, beat.Edge); err != nil {
		return nil, s.unavailable("lease not ended", err)
	}
	if _, err := s.o.Parts.Remove(ctx, beat.Edge, beat.Buckets); err != nil {
		return nil, s.unavailable("interest not removed", err)
	}
	return control.HeartbeatAnswer{}, nil
}

func (s *Service) locate(micro.Request) (any, error) {
	lease, ok := s.o.Leases.Locate()
	if !ok {
		return nil, code.Errorf(code.NoEdge, "region %s has no edge that takes clients", s.o.Region)
	}
	return control.LocateAnswer{Edge: lease.Edge, Address: lease.Address}, nil
}

func (s *Service) edges(micro.Request) (any, error) {
	return control.EdgesAnswer{Edges: s.o.Leases.All(), Time: time.Now().UnixMicro()}, nil
}

func (s *Service) buckets(micro.Request) (any, error) {
	return control.BucketsAnswer{Buckets: s.o.Parts.Buckets(s.o.Leases.Live)}, nil
}

func (s *Service) symbol(r micro.Request) (any, error) {
	symbol, err := subject.ParseSymbol(lastToken(r.Subject()))
	if err != nil {
		return nil, err
	}
	return control.SymbolAnswer{Symbol: symbol, Buckets: s.o.Parts.Wanting(symbol)}, nil
}

// unavailable logs why KV did not do what was asked, and tells the caller to ask again.
func (s *Service) unavailable(what string, err error) error {
	s.fault(what, err)
	return code.Errorf(code.Unavailable, "%s: KV did not take it; send it again", what)
}
