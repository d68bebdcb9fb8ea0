package coinbase

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/tickfan/tickfan/libs/telemetry"
	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
	"github.com/tickfan/tickfan/services/ingest/internal/refusal"
	"github.com/tickfan/tickfan/services/ingest/internal/stamp"
)

// refusedFor is how long a product that the exchange refused is not asked for again. Until then a new connection
// leaves it out, for a refused subscribe takes the whole call with it and may end the connection.
const refusedFor = 10 * time.Minute

// Options of a Feed.
type Options struct {
	URL      string           // ws:// or wss://
	Products []subject.Symbol // a product's id is its symbol
	Refused  *refusal.Log
	Log      *slog.Logger
	Now      func() time.Time
	Stats    *Stats

	// Stamp publishes a price. Its error is stamp.ErrInactive or a *code.Error.
	Stamp func(context.Context, subject.Symbol, tick.Quote) error
	// Trace begins the trace of a frame, if it is to have one.
	Trace func(subject.Symbol) (context.Context, trace.Span)
}

// Feed reads the exchange for as long as Run runs.
type Feed struct {
	o        Options
	products map[string]*product
	conns    uint64               // connections made so far
	refused  map[string]time.Time // products refused, and until when they are not asked for
	singly   bool                 // ask for one product a call: a call for many was refused
	backoff  backoff
	silence  time.Duration
}

// New returns a Feed; Run connects.
func New(o Options) *Feed {
	f := &Feed{o: o, products: map[string]*product{}, refused: map[string]time.Time{}, silence: silence}
	for _, s := range o.Products {
		f.products[string(s)] = &product{symbol: s}
	}
	return f
}

// Run keeps a connection to the exchange until ctx ends.
func (f *Feed) Run(ctx context.Context) error {
	for {
		began := f.o.Now()
		err := f.connection(ctx)
		if ctx.Err() != nil {
			return nil
		}
		f.o.Stats.Failures.Add(1)
		if f.o.Now().Sub(began) >= steady {
			f.backoff.reset()
		}
		wait := f.backoff.next()
		f.o.Log.Warn("exchange not connected", "url", f.o.URL, "error", err, "again_in", wait.Round(time.Millisecond))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// frame takes one frame of connection conn. It returns an ack or an error, which somebody may wait for, else nil.
func (f *Feed) frame(conn uint64, p []byte) *frame {
	s := f.o.Stats
	fr, err := decode(p)
	if err != nil {
		switch fr.Type {
		case typeTicker, typeHeartbeat, typeSubscriptions, typeError, "":
			s.Bad.Add(1)
			f.o.Refused.Refuse("coinbase", code.Errorf(code.BadMessage, "%v", err))
		default:
			s.Unknown.Add(1)
		}
		return nil
	}
	switch fr.Type {
	case typeTicker:
		s.Tickers.Add(1)
		f.ticker(conn, &fr)
	case typeHeartbeat:
		s.Heartbeats.Add(1)
		if pr := f.products[fr.ProductID]; pr != nil {
			f.lost(pr, pr.heartbeat(fr.LastTradeID))
		} else {
			s.Unknown.Add(1)
		}
	case typeSubscriptions:
		s.Subscriptions.Add(1)
		return &fr
	case typeError:
		s.Errors.Add(1)
		f.o.Log.Warn("exchange reports an error", "error", code.Quote(fr.Message), "reason", cut(fr.Reason))
		return &fr
	default:
		s.Unknown.Add(1)
	}
	return nil
}

func (f *Feed) ticker(conn uint64, fr *frame) {
	s := f.o.Stats
	pr := f.products[fr.ProductID]
	if pr == nil {
		s.Unknown.Add(1)
		return
	}
	lost, repeated := pr.ticker(conn, fr.TradeID, fr.Sequence)
	f.lost(pr, lost)
	if repeated {
		s.Repeated.Add(1)
		return
	}
	ctx, span := f.o.Trace(pr.symbol)
	defer span.End()
	q, dropped, err := fr.quote(f.o.Now())
	s.Fields.Add(int64(dropped))
	if err == nil {
		err = f.o.Stamp(ctx, pr.symbol, q)
	}
	if err != nil && !errors.Is(err, stamp.ErrInactive) {
		telemetry.Fail(span, err)
		f.o.Refused.Refuse("coinbase "+fr.ProductID, err)
	}
}

// lost counts a gap. It is counted only: there is no replay, and the next price makes up for it.
func (f *Feed) lost(p *product, trades uint64) {
	if trades == 0 {
		return
	}
	f.o.Stats.Gaps.Add(1)
	f.o.Stats.Lost.Add(int64(trades))
	f.o.Log.Debug("exchange's trades missing", "symbol", p.symbol, "trades", trades)
}

// cut shortens what the exchange said for the log.
func cut(s string) string {
	const most = 300
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// refusedError is what the exchange answered to a subscribe call.
type refusedError struct{ reason string }

func (e *refusedError) Error() string { return fmt.Sprintf("the exchange refused: %s", cut(e.reason)) }
