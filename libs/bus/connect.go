package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/metric"

	"github.com/tickfan/tickfan/libs/ops"
)

const (
	// A dead server or link is noticed within pingInterval * (pingsOutstanding + 1).
	pingInterval     = 5 * time.Second
	pingsOutstanding = 2

	dialTimeout = 2 * time.Second

	// writeTimeout is how long the server may take nothing of what is written to it. nats.go
	// writes under the lock of the connection, so that meanwhile nothing else works on it: not
	// Close, nor the pings that would find the server dead. Its default is a minute.
	writeTimeout = 2 * time.Second

	// After a server's death thousands of edges come back; the jitter spreads them.
	reconnectWait      = 250 * time.Millisecond
	reconnectJitter    = 250 * time.Millisecond
	reconnectJitterTLS = 500 * time.Millisecond

	// drainTimeout is within the 10 s that Docker leaves between SIGTERM and SIGKILL.
	drainTimeout = 5 * time.Second

	// logEvery is the least time between two log lines about the same trouble.
	logEvery = 10 * time.Second
)

// errWaiting is the reason of the condition until the first connection.
var errWaiting = errors.New("waiting for the first connection to NATS")

// Options say how to connect.
type Options struct {
	URL  string // one server or several, comma-separated, as in --nats
	Name string // who is connecting, shown by `nats server report connections`

	Log *slog.Logger // never nil

	// Meter counts tickfan.nats.disconnects, tickfan.nats.reconnects and
	// tickfan.nats.errors (by kind); nil counts nothing. Two connections of one meter are
	// told apart by the attribute connection, which is Name.
	Meter metric.Meter

	// Condition is met while the connection stands, or has been cut for no longer than
	// ops.Grace; may be nil.
	Condition *ops.Condition

	// Ticks is for a connection on which prices leave: while it is cut, Publish fails with
	// nats.ErrReconnectBufExceeded instead of keeping the message for later, because a
	// stale price must be refused, not replayed. Other connections buffer up to 8 MB.
	Ticks bool

	// OnReconnect is called after each reconnection, not after the first connection; may
	// be nil. By then the subscriptions stand again. What was published meanwhile is
	// missing. It must not block: it holds up every other callback of the connection.
	OnReconnect func()
}

// Connect dials until a server answers or ctx ends, and warns every 10 s while none does.
// Once connected, it stays so for good: it reconnects without limit, also when the server
// refuses its credentials for a while. The caller ends it with Drain or Close; ctx does not,
// so that a service can flush after it was told to stop.
//
// It gives up before ctx ends only where waiting cannot help: an unreadable URL, a server
// that is too old, or credentials that it refuses (then the error wraps
// nats.ErrAuthorization or one of its kin). When ctx ends the error wraps its cause.
func Connect(ctx context.Context, o Options) (*nats.Conn, error) {
	at := redact(o.URL)
	if err := checkURL(o.URL); err != nil {
		return nil, err
	}
	w, err := newWatch(o, at, func() bool { return ctx.Err() != nil })
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	o.Condition.Set(errWaiting)
	for {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("connect to NATS at %s: %w", at, context.Cause(ctx))
		}
		nc, err := dial(ctx, o, w)
		if err == nil {
			if err := checkVersion(nc.ConnectedServerVersion()); err != nil {
				nc.Close()
				return nil, fmt.Errorf("connect to NATS at %s: %w", at, err)
			}
			return nc, nil
		}
		if refused(err) {
			return nil, fmt.Errorf("connect to NATS at %s: %w: the server refuses these credentials; "+
				"give the right ones with --nats nats://user:password@host:4222 (TICKFAN_NATS)", at, err)
		}
		if ctx.Err() != nil {
			continue
		}
		w.unreachable(err)
		o.Condition.Set(fmt.Errorf("NATS not reachable at %s", at))
		select {
		case <-ctx.Done():
		case <-time.After(reconnectWait):
		}
	}
}

func options(o Options, w *watch) []nats.Option {
	all := []nats.Option{
		nats.Name(o.Name),
		nats.Timeout(dialTimeout),
		nats.FlusherTimeout(writeTimeout),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(pingsOutstanding),
		nats.MaxReconnects(-1), // the default gives up after 60
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectJitter, reconnectJitterTLS),
		nats.IgnoreAuthErrorAbort(), // else a botched rotation of passwords ends the connection for good
		nats.DrainTimeout(drainTimeout),
		nats.ConnectHandler(w.connected),
		nats.DisconnectErrHandler(w.disconnected),
		nats.ReconnectHandler(w.reconnected),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { w.unreachable(err) }),
		nats.ClosedHandler(w.closed),
		nats.ErrorHandler(w.failed),
	}
	if o.Ticks {
		all = append(all, nats.ReconnectBufSize(-1))
	}
	return all
}

// refused says that the server answered and wants other credentials.
func refused(err error) bool {
	for _, target := range []error{nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}
