package intake

import (
	"encoding/json"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/trace"

	"github.com/tickfan/tickfan/libs/telemetry"
	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/control"
)

const (
	// maxWaiting is how many answers may wait for a flush; beyond it the intake waits, too.
	maxWaiting = 8192

	// flushTimeout bounds a flush. Two may be due when stopping, which must not take long.
	flushTimeout = time.Second
)

// answerer answers requests once their ticks are flushed. A flush is a round trip to the server, so one covers all
// answers that wait: while it is under way the next ones gather.
//
//	stamp -> waiting -> [take all] -> Flush -> answer each
type answerer struct {
	ticks   *nats.Conn
	log     *slog.Logger
	waiting chan answer   // never closed: a price that was held may be stamped at the very end
	ending  chan struct{} // closed by close
	ended   chan struct{} // closed when run has returned
	flushes atomic.Int64  // so far
}

type answer struct {
	m          *nats.Msg
	reconnects uint64
	span       trace.Span // ends with the answer, of which it tells
	body       control.IngestAnswer
}

func newAnswerer(ticks *nats.Conn, log *slog.Logger) *answerer {
	return &answerer{ticks: ticks, log: log, waiting: make(chan answer, maxWaiting), ending: make(chan struct{}), ended: make(chan struct{})}
}

// reconnects numbers the connection that ticks leave on.
func (a *answerer) reconnects() uint64 { return a.ticks.Stats().Reconnects }

// ok answers after the next flush.
func (a *answerer) ok(ans answer) {
	select {
	case a.waiting <- ans:
	case <-a.ended: // who asked finds out by his timeout
		ans.span.End()
	}
}

// stored answers at once: what is stored was flushed, too.
func (a *answerer) stored(ans answer, stored bool) {
	if ans.body.OK = stored; !stored {
		ans.body.Error = code.Errorf(code.NotStored, "stamped and sent to all, but not in the history within two seconds: it may not survive")
	}
	a.send(ans)
}

// refuse answers at once.
func (a *answerer) refuse(ans answer, err *code.Error) {
	ans.body = control.IngestAnswer{Error: err, Trace: ans.body.Trace}
	a.send(ans)
}

// close lets run end after the last answer.
func (a *answerer) close() { close(a.ending) }

func (a *answerer) run() {
	defer close(a.ended)
	var batch []answer
	for {
		var first answer
		select {
		case first = <-a.waiting:
		case <-a.ending:
			select {
			case first = <-a.waiting:
			default:
				return
			}
		}
		batch = a.gather(append(batch[:0], first))
		err := a.ticks.FlushTimeout(flushTimeout)
		a.flushes.Add(1)
		now := a.reconnects()
		for _, ans := range batch {
			switch {
			case err != nil:
				a.refuse(ans, code.Errorf(code.Unavailable, "not flushed to NATS, so it may be lost: %v", err))
			case ans.reconnects != now:
				a.refuse(ans, code.Errorf(code.Unavailable, "the connection to NATS was cut meanwhile, so it may be lost"))
			default:
				a.send(ans)
			}
		}
		clear(batch) // holds no message longer than it must
	}
}

// gather takes what waits, without waiting.
func (a *answerer) gather(batch []answer) []answer {
	for len(batch) < maxWaiting {
		select {
		case ans := <-a.waiting:
			batch = append(batch, ans)
		default:
			return batch
		}
	}
	return batch
}

func (a *answerer) send(ans answer) {
	defer ans.span.End()
	if ans.body.Error != nil {
		telemetry.Fail(ans.span, ans.body.Error)
	}
	p, err := json.Marshal(ans.body)
	if err == nil {
		err = ans.m.Respond(p)
	}
	if err != nil {
		a.log.Debug("answer not sent", "subject", ans.m.Subject, "error", err) // its requester finds out by its timeout
	}
}
