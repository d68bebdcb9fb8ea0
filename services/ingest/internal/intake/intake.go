package intake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/trace"

	"github.com/tickfan/tickfan/libs/bus"
	"github.com/tickfan/tickfan/libs/telemetry"
	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
	"github.com/tickfan/tickfan/services/ingest/internal/refusal"
	"github.com/tickfan/tickfan/services/ingest/internal/stamp"
)

// Pending limits of ingest.>: what waits while a burst is stamped. Beyond them nats.go drops and counts. The bytes are
// 64 messages of the largest size that nats-server takes by default, so that junk cannot eat the memory.
const (
	pendingMessages = 65_536
	pendingBytes    = 64 << 20
)

// drainFor is how long, when stopping, what was delivered is still taken.
const drainFor = time.Second

// Options of an Intake.
type Options struct {
	Conn    *nats.Conn // where ingest.> is heard and answers leave
	Ticks   *nats.Conn // where ticks leave: an answer waits for its flush
	Drops   *bus.Drops
	Refused *refusal.Log
	Log     *slog.Logger
	Now     func() time.Time

	// Active tells whether this ingest stamps. Only the active one takes, refuses and answers.
	Active func() bool
	// Skipped is called for each price that came while this ingest does not stamp.
	Skipped func()
	// Hold is given those of them that could be stamped, with what stamps them by StampHeld, and answers. false: this ingest
	// may not stamp now.
	Hold func(s subject.Symbol, q tick.Quote, stamp func() bool)
	// Stamp publishes a price. Its error is stamp.ErrInactive or a *code.Error.
	Stamp stampFunc
	// StampHeld does the same with a price that was held.
	StampHeld stampFunc
	// Trace begins the trace of a price, or joins its caller's, if it is to have one.
	Trace func(*nats.Msg) (context.Context, trace.Span)
	// Stored calls done, which does not block, once the history holds a tick, or with false after a while.
	Stored func(s subject.Symbol, p tick.Position, done func(stored bool))
}

type stampFunc func(context.Context, subject.Symbol, tick.Quote) (tick.Position, error)

// Intake takes prices from ingest.>.
type Intake struct {
	o       Options
	sub     *nats.Subscription
	unwatch func()
	answers *answerer
}

// New subscribes; Run takes the prices.
func New(o Options) (*Intake, error) {
	sub, err := o.Conn.SubscribeSync(subject.IngestAll)
	if err != nil {
		return nil, fmt.Errorf("subscribe %s: %w", subject.IngestAll, err)
	}
	if err := sub.SetPendingLimits(pendingMessages, pendingBytes); err != nil {
		return nil, fmt.Errorf("limit %s: %w", subject.IngestAll, err)
	}
	return &Intake{o: o, sub: sub, unwatch: o.Drops.Watch("ingest", sub), answers: newAnswerer(o.Ticks, o.Log)}, nil
}

// Run takes prices until ctx ends, then those that were delivered already, and returns when all answers are out.
func (in *Intake) Run(ctx context.Context) error {
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		in.answers.run()
	}()
	err := in.take(ctx)
	in.drain()
	in.answers.close()
	<-answered
	in.unwatch()
	return err
}

func (in *Intake) take(ctx context.Context) error {
	for {
		m, err := in.sub.NextMsgWithContext(ctx)
		switch {
		case err == nil:
			in.one(m)
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, nats.ErrSlowConsumer):
			// Told once an episode, counted by Drops and logged by bus; what was kept is still to be read.
		default:
			return fmt.Errorf("read %s: %w", subject.IngestAll, err)
		}
	}
}

// drain takes what the server has sent before it heard that we stop.
func (in *Intake) drain() {
	if err := in.sub.Drain(); err != nil {
		return // not connected: nothing comes
	}
	for deadline := time.Now().Add(drainFor); time.Now().Before(deadline); {
		m, err := in.sub.NextMsg(drainFor / 10)
		if errors.Is(err, nats.ErrSlowConsumer) {
			continue
		}
		if err != nil {
			return
		}
		in.one(m)
	}
}

// one takes one message.
func (in *Intake) one(m *nats.Msg) {
	active := in.o.Active()
	s, q, err := in.read(m)
	switch {
	case active:
		if !in.deal(m, s, q, err, in.o.Stamp) { // the lease was lost since the look above, or the process was paused
			in.o.Skipped()
		}
	case err == nil:
		in.o.Skipped()
		in.o.Hold(s, q, func() bool { return in.deal(m, s, q, nil, in.o.StampHeld) })
	default:
		in.o.Skipped()
	}
}

// deal stamps a price that could be read, or err says why not, and answers. false: this ingest may not stamp.
func (in *Intake) deal(m *nats.Msg, s subject.Symbol, q tick.Quote, err error, stampIt stampFunc) bool {
	ctx, span := in.o.Trace(m)
	reply := m.Reply
	if reply != "" && !answerable(reply) {
		err := code.Errorf(code.BadMessage, "reply subject %s: answers do not go there; use an inbox", code.Quote(reply))
		in.o.Refused.Refuse(m.Subject, err)
		end(span, err)
		return true
	}
	var reconnects uint64
	if reply != "" {
		reconnects = in.answers.reconnects() // before the stamp: a connection cut after it may have lost the tick
	}
	var pos tick.Position
	if err == nil {
		pos, err = stampIt(ctx, s, q)
	}
	switch {
	case errors.Is(err, stamp.ErrInactive):
		span.End()
		return false
	case err != nil:
		in.o.Refused.Refuse(m.Subject, err)
	}
	if reply == "" {
		end(span, err)
		return true
	}
	ans := answer{m: m, reconnects: reconnects, span: span, body: control.IngestAnswer{OK: true, Epoch: pos.Epoch, Seq: pos.Seq, Trace: traceID(span)}}
	switch {
	case err != nil:
		in.answers.refuse(ans, code.Of(err))
	case m.Header.Get(control.HeaderWait) == control.WaitStored:
		in.o.Stored(s, pos, func(stored bool) { in.answers.stored(ans, stored) })
	default:
		in.answers.ok(ans)
	}
	return true
}

// end ends the span of a price that nobody asked an answer for; an answer ends the others.
func end(span trace.Span, err error) {
	if err != nil {
		telemetry.Fail(span, err)
	}
	span.End()
}

func (in *Intake) read(m *nats.Msg) (s subject.Symbol, q tick.Quote, err error) {
	if s, err = subject.ParseSymbol(strings.TrimPrefix(m.Subject, ingestPrefix)); err != nil {
		return s, q, err
	}
	q, err = tick.ParseQuote(m.Data, in.o.Now())
	return s, q, err
}

// traceID names a trace that somebody collects.
func traceID(s trace.Span) string {
	if c := s.SpanContext(); c.IsSampled() {
		return c.TraceID().String()
	}
	return ""
}

// ingestPrefix is what stands before the symbol.
const ingestPrefix = "ingest."

// answerable tells whether an answer may go to a reply subject. Ingest may publish where its callers may not: a price
// sent with the reply subject ticks.BTC-USD or $JS.API.STREAM.PURGE.TICKS would have us do the harm.
func answerable(reply string) bool {
	if strings.HasPrefix(reply, "$") {
		return false
	}
	first, _, _ := strings.Cut(reply, ".")
	switch first {
	case "ingest", "ticks", "beat", "fanout", "router", "interest", "registry":
		return false
	}
	return true
}
