package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"golang.org/x/sync/errgroup"

	"github.com/tickfan/tickfan/libs/bus"
	"github.com/tickfan/tickfan/libs/quiet"
	"github.com/tickfan/tickfan/libs/telemetry"
	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/services/registry/internal/leases"
	"github.com/tickfan/tickfan/services/registry/internal/parts"
)

const (
	// atOnce is how many requests of one endpoint wait for KV at the same time. KV takes writes side by side, so that
	// a registry which did one after the other would be the slowest part of a region that starts.
	atOnce = 64

	// Requests beyond these are dropped; their senders send them again.
	pendingMessages = 16 << 10
	pendingBytes    = 64 << 20

	flushTimeout = time.Second
	flushAgain   = 250 * time.Millisecond
	stopTimeout  = time.Second
	logEvery     = 10 * time.Second
)

// Options say what to serve.
type Options struct {
	Conn    *nats.Conn // for this alone
	Region  subject.Region
	Version string // semantic
	Leases  *leases.Leases
	Parts   *parts.Parts
	Log     *slog.Logger

	Tracer *telemetry.Tracer // nil when nobody collects traces

	// Answered is called for each request; the code is "ok" where nothing was wrong.
	Answered func(endpoint string, code string)
}

// Service is the running micro service.
type Service struct {
	o      Options
	micro  micro.Service
	ctx    context.Context // of the work
	cancel context.CancelFunc
	work   map[string]*errgroup.Group // by endpoint; bounds and awaits what is done beside the subscriptions
	faults *quiet.Log
}

// endpoint is one subject. Its request is read at once; then, either read gives the answer, or the work that will,
// which is done beside the subscription.
type endpoint struct {
	name     string
	subject  string // within registry.<region>
	request  string // shown by `nats micro info`
	response string
	read     func(micro.Request) (answer any, work workFunc, err error)
}

type workFunc func(context.Context) (answer any, err error)

// Start subscribes the endpoints and returns when the server knows of them, or with ctx's cause. The caller stops it,
// also when ctx has ended.
func Start(ctx context.Context, o Options) (*Service, error) {
	s := &Service{o: o, work: map[string]*errgroup.Group{}, faults: quiet.New(o.Log, logEvery)}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err := s.start(ctx); err != nil {
		s.Stop()
		return nil, fmt.Errorf("start micro service %s: %w", subject.Service, err)
	}
	return s, nil
}

func (s *Service) start(ctx context.Context) (err error) {
	s.micro, err = micro.AddService(s.o.Conn, micro.Config{
		Name:        subject.Service,
		Version:     s.o.Version,
		Description: "Who holds which bucket, and what each bucket wants.",
		Metadata:    map[string]string{"region": string(s.o.Region)},
		ErrorHandler: func(_ micro.Service, err *micro.NATSError) {
			s.fault("micro service", err)
		},
	})
	if err != nil {
		return err
	}
	for _, e := range s.endpoints() {
		s.work[e.name] = &errgroup.Group{}
		s.work[e.name].SetLimit(atOnce)
		err := s.micro.AddEndpoint(e.name, micro.HandlerFunc(func(r micro.Request) { s.handle(e, r) }),
			micro.WithEndpointSubject(subject.Registry(s.o.Region, e.subject)),
			micro.WithEndpointMetadata(map[string]string{"request": e.request, "response": e.response}),
			micro.WithEndpointPendingLimits(pendingMessages, pendingBytes))
		if err != nil {
			return fmt.Errorf("add endpoint %s: %w", e.name, err)
		}
	}
	for s.o.Conn.FlushTimeout(flushTimeout) != nil { // cut, which bus logs
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(flushAgain):
		}
	}
	return nil
}

// Stop ends the subscriptions, answers what had come by then, and waits for that, a second at most. The connection
// stays open.
func (s *Service) Stop() {
	defer s.cancel()
	defer time.AfterFunc(stopTimeout, s.cancel).Stop()
	if s.micro != nil {
		_ = s.micro.Stop() // fails where the connection is closed, and the subscriptions with it
	}
	// After the flush, all that the server will send is here; after the barrier, it has been handed to the work. The
	// barrier is passed also when the connection is closed.
	_ = s.flush()
	handed := make(chan struct{})
	if s.o.Conn.Barrier(func() { close(handed) }) == nil {
		<-handed
	}
	for _, group := range s.work {
		_ = group.Wait() // the work answers its errors itself
	}
	if err := s.flush(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		s.o.Log.Warn("last answers not flushed", "error", err)
	}
}

// flush waits for no server that is away.
func (s *Service) flush() error {
	if s.o.Conn.IsReconnecting() {
		return nats.ErrConnectionReconnecting
	}
	return s.o.Conn.FlushTimeout(stopTimeout)
}

func (s *Service) handle(e endpoint, r micro.Request) {
	answer, work, err := e.read(r)
	if work == nil {
		s.answer(e, r, answer, err)
		return
	}
	reply := r.Reply() // r itself belongs to micro, which reads it when this returns
	header, subj := nats.Header(r.Headers()), r.Subject()
	s.work[e.name].Go(func() error {
		ctx, end := s.trace(e, subj, header)
		answer, err := work(ctx)
		end(err)
		s.send(e, reply, answer, err)
		return nil
	})
}

// trace goes on with the trace of a request, if it has one; end ends it.
func (s *Service) trace(e endpoint, subj string, header nats.Header) (ctx context.Context, end func(error)) {
	ctx = bus.TraceContext(s.ctx, header)
	if !telemetry.Sampled(ctx) {
		return s.ctx, func(error) {}
	}
	ctx, span := s.o.Tracer.Process(ctx, "registry.{region}."+e.name, subj)
	return ctx, func(err error) {
		if err != nil {
			telemetry.Fail(span, err)
		}
		span.End()
	}
}

// answer answers while micro looks on, so that `nats micro stats` counts the errors.
func (s *Service) answer(e endpoint, r micro.Request, answer any, err error) {
	body, coded := s.body(e, answer, err)
	if coded != nil {
		err = r.Error(string(coded.Code), coded.Message, body)
	} else {
		err = r.Respond(body)
	}
	if err != nil {
		s.fault("answer", err)
	}
}

// send answers later.
func (s *Service) send(e endpoint, reply string, answer any, err error) {
	m := nats.NewMsg(reply)
	body, coded := s.body(e, answer, err)
	m.Data = body
	if coded != nil {
		m.Header.Set(micro.ErrorCodeHeader, string(coded.Code))
		m.Header.Set(micro.ErrorHeader, coded.Message)
	}
	if reply == "" {
		return
	}
	if err := s.o.Conn.PublishMsg(m); err != nil {
		s.fault("answer", err)
	}
}

// failure is the answer of every endpoint to what it refuses.
type failure struct {
	Error *code.Error `json:"error"`
}

// body encodes an answer, or the error, which it counts.
func (s *Service) body(e endpoint, answer any, err error) ([]byte, *code.Error) {
	var body []byte
	if err == nil {
		body, err = json.Marshal(answer)
	}
	if most := s.o.Conn.MaxPayload(); err == nil && int64(len(body)) > most {
		err = code.Errorf(code.TooLarge, "the answer has %d bytes, NATS takes %d", len(body), most)
	}
	if err == nil {
		s.o.Answered(e.name, "ok")
		return body, nil
	}
	coded := code.Of(err)
	if coded.Code == code.Internal {
		s.fault(e.name, err)
	}
	s.o.Answered(e.name, string(coded.Code))
	body, err = json.Marshal(failure{coded})
	if err != nil { // two strings
		s.fault(e.name, err)
	}
	return body, coded
}

// fault logs what went wrong here, not with a request.
func (s *Service) fault(what string, err error) {
	s.faults.Warn(what, "request not served; who asked asks again", "endpoint", what, "error", err)
}
