package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/tickfan/tickfan/libs/ops"
	"github.com/tickfan/tickfan/libs/quiet"
)

// watch tells the log, the counters and the condition what happens to a connection. nats.go
// calls it from one goroutine, in order.
type watch struct {
	log         *slog.Logger
	at          string // the servers, without secrets
	condition   *ops.Condition
	onReconnect func()
	quiet       *quiet.Log
	stopping    func() bool // the owner was told to stop: a cut is no news then

	attrs       metric.MeasurementOption
	name        attribute.KeyValue
	disconnects metric.Int64Counter
	reconnects  metric.Int64Counter
	errors      metric.Int64Counter
}

func newWatch(o Options, at string, stopping func() bool) (*watch, error) {
	meter := o.Meter
	if meter == nil {
		meter = noop.Meter{}
	}
	name := attribute.String("connection", o.Name)
	log := o.Log.With("connection", o.Name)
	w := &watch{
		log:         log,
		at:          at,
		condition:   o.Condition,
		onReconnect: o.OnReconnect,
		quiet:       quiet.New(log, logEvery),
		stopping:    stopping,
		attrs:       metric.WithAttributeSet(attribute.NewSet(name)),
		name:        name,
	}
	var errs [3]error
	w.disconnects, errs[0] = meter.Int64Counter("tickfan.nats.disconnects",
		metric.WithDescription("Times that a connection to NATS was cut."))
	w.reconnects, errs[1] = meter.Int64Counter("tickfan.nats.reconnects",
		metric.WithDescription("Times that a cut connection to NATS came back."))
	w.errors, errs[2] = meter.Int64Counter("tickfan.nats.errors",
		metric.WithDescription("Errors that NATS reported beside any call, by kind."))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("make instruments: %w", err)
	}
	// At 0 from the start, so that a rate over the first event is seen.
	w.disconnects.Add(context.Background(), 0, w.attrs)
	w.reconnects.Add(context.Background(), 0, w.attrs)
	for _, kind := range []string{slowConsumer, permission, auth, stale, other} {
		w.errors.Add(context.Background(), 0, metric.WithAttributes(name, attribute.String("kind", kind)))
	}
	return w, nil
}

func (w *watch) connected(nc *nats.Conn) {
	w.log.Info("connected to NATS", "server", nc.ConnectedUrlRedacted())
	w.condition.Set(nil)
}

// disconnected is also called when the owner closes the connection, then without an error.
func (w *watch) disconnected(_ *nats.Conn, err error) {
	if err == nil {
		return
	}
	w.disconnects.Add(context.Background(), 1, w.attrs)
	level := slog.LevelWarn
	if w.stopping() {
		level = slog.LevelInfo
	}
	w.quiet.Log(level, "cut", "connection to NATS cut", "error", err)
	w.condition.Lost(fmt.Errorf("connection to NATS cut: %w", err))
}

func (w *watch) reconnected(nc *nats.Conn) {
	w.reconnects.Add(context.Background(), 1, w.attrs)
	w.quiet.Log(slog.LevelInfo, "again", "connected to NATS again", "server", nc.ConnectedUrlRedacted())
	w.condition.Set(nil)
	if w.onReconnect != nil {
		w.onReconnect()
	}
}

func (w *watch) closed(*nats.Conn) { w.condition.Set(errors.New("connection to NATS closed")) }

// unreachable is one failed attempt to reach the servers.
func (w *watch) unreachable(err error) {
	w.quiet.Warn("unreachable", fmt.Sprintf("NATS not reachable at %s; is nats-server running? start it with: nats-server -js", w.at),
		"error", err)
}

// failed is an error that belongs to no call: a message dropped here, a subject refused there.
func (w *watch) failed(_ *nats.Conn, sub *nats.Subscription, err error) {
	kind := errorKind(err)
	w.errors.Add(context.Background(), 1, metric.WithAttributes(w.name, attribute.String("kind", kind)))
	attrs := []any{"kind", kind, "error", err}
	if sub != nil {
		attrs = append(attrs, "subject", sub.Subject)
	}
	level := slog.LevelWarn // passes, or is mended by those who repair
	if kind == auth || kind == permission {
		level = slog.LevelError
	}
	w.quiet.Log(level, kind, "NATS error", attrs...)
}

// Kinds of errors, the attribute kind of tickfan.nats.errors: few values, for it is a label.
const (
	slowConsumer = "slow_consumer"
	permission   = "permission"
	auth         = "auth"
	stale        = "stale"
	other        = "other"
)

func errorKind(err error) string {
	switch {
	case errors.Is(err, nats.ErrSlowConsumer):
		return slowConsumer
	case errors.Is(err, nats.ErrPermissionViolation):
		return permission
	case refused(err):
		return auth
	case errors.Is(err, nats.ErrStaleConnection):
		return stale
	default:
		return other
	}
}
