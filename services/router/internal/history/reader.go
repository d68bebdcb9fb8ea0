package history

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/libs/quiet"
	"github.com/tickfan/tickfan/proto/tick"
)

const (
	// workers read at a time. A read of ticks that lie far apart is the server's CPU, so more would only be slower each.
	workers = 4
	// backlog is how many questions wait, and patience for how long: an edge waits a second for its answer.
	backlog  = 256
	patience = 250 * time.Millisecond
	// readTime is how long a read may take. What it has by then is told, and the rest is refused: asked again, it goes on
	// from there.
	readTime = 600 * time.Millisecond
	// logEvery is the least time between two lines about reads that failed.
	logEvery = 10 * time.Second
)

// Stats count from the start. They may be read from any goroutine.
type Stats struct {
	Asked   atomic.Int64 // questions
	Refused atomic.Int64 // of those, not answered, or not to their end
	Ticks   atomic.Int64 // told
}

// Reader answers questions. Ask and RefuseRest may be called from any goroutine.
type Reader struct {
	faults  *quiet.Log
	publish func(subject string, data []byte) error
	asked   chan question
	stats   Stats
}

type question struct {
	tick.Range
	reply string
	came  time.Time
}

// New makes a Reader. publish sends a message and does not keep data; one that does not leave is the asker's to miss.
func New(log *slog.Logger, publish func(subject string, data []byte) error) *Reader {
	return &Reader{faults: quiet.New(log, logEvery), publish: publish, asked: make(chan question, backlog)}
}

// Stats gives the counters.
func (r *Reader) Stats() *Stats { return &r.stats }

// Ask has a range answered on the subject reply, in as many messages as it takes. It does not block.
func (r *Reader) Ask(g tick.Range, reply string) {
	r.stats.Asked.Add(1)
	q := question{g, reply, time.Now()}
	select {
	case r.asked <- q:
	default:
		r.answer(q, nil, tick.Refused)
	}
}

// Run answers until ctx ends. RefuseRest should follow once nothing is asked any more.
func (r *Reader) Run(ctx context.Context, js jetstream.JetStream) {
	var all sync.WaitGroup
	defer all.Wait()
	for range workers {
		all.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case q := <-r.asked:
					r.serve(ctx, js, q)
				}
			}
		})
	}
}

// RefuseRest refuses what waits, so that who asked asks another router at once.
func (r *Reader) RefuseRest() {
	for {
		select {
		case q := <-r.asked:
			r.answer(q, nil, tick.Refused)
		default:
			return
		}
	}
}

func (r *Reader) serve(ctx context.Context, js jetstream.JetStream, q question) {
	if time.Since(q.came) > patience {
		r.answer(q, nil, tick.Refused)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	ticks, lack, err := Read(ctx, js, q.Range)
	if err != nil && !errors.Is(err, context.Canceled) {
		r.failed(q, err)
	}
	r.answer(q, ticks, lack)
}

func (r *Reader) failed(q question, err error) {
	r.faults.Warn("range", "a range of ticks was not read to its end; who asked asks again", "symbol", q.Symbol, "epoch", q.Epoch,
		"from", q.From, "to", q.To, "error", err)
}

// answerHead is more than the head and end of an answer can take: array, kind, last, headers of ticks and missing, lack.
const answerHead = 1 + 1 + 1 + 5 + 5 + 2

func (r *Reader) answer(q question, ticks [][]byte, lack tick.Lack) {
	if lack == tick.Refused {
		r.stats.Refused.Add(1)
	}
	r.stats.Ticks.Add(int64(len(ticks)))
	for {
		n, size := 0, answerHead
		for n < len(ticks) && (n == 0 || size+len(ticks[n]) <= tick.MaxPayload) {
			size += len(ticks[n])
			n++
		}
		m := tick.NewestAnswer{Ticks: ticks[:n], Last: n == len(ticks)}
		if m.Last {
			m.Lack = lack
		}
		if err := r.publish(q.reply, m.Append(make([]byte, 0, size))); err != nil {
			r.failed(q, err)
			return
		}
		if ticks = ticks[n:]; m.Last {
			return
		}
	}
}
