package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// jetStreamOff is how long "there is no JetStream" must be the answer before it is
	// believed: a restarting cluster says so while its servers find each other.
	jetStreamOff = 2 * time.Second

	// jetStreamMute is how long no answer at all is waited for: a cluster that lost its
	// JetStream leader was measured mute for up to 6.8 s.
	jetStreamMute = 30 * time.Second

	jetStreamAsk   = 2 * time.Second        // for one answer
	jetStreamAgain = 250 * time.Millisecond // between two questions
)

// JetStream returns the JetStream of the account and domain that nc is connected to, once it
// has answered. While the connection is cut it waits. It gives up when ctx ends, when the
// server has said for 2 s that JetStream is off (the error wraps
// jetstream.ErrJetStreamNotEnabled or ErrJetStreamNotEnabledForAccount), or when nothing has
// been heard for 30 s.
//
// Another domain's JetStream may be out of reach for long, so it is not waited for: take
// jetstream.NewWithDomain on the same connection.
func JetStream(ctx context.Context, nc *nats.Conn) (jetstream.JetStream, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("make JetStream client: %w", err)
	}
	var off, mute time.Time // since when it says no, and nothing; zero when it does not
	for {
		ask, cancel := context.WithTimeout(ctx, jetStreamAsk)
		began := time.Now()
		_, err := js.AccountInfo(ask)
		cancel()
		switch {
		case err == nil:
			return js, nil
		case ctx.Err() != nil:
			return nil, fmt.Errorf("wait for JetStream at %s: %w", at(nc), context.Cause(ctx))
		case !nc.IsConnected() && !nc.IsClosed():
			off, mute = time.Time{}, time.Time{}
		case isOff(err):
			off, mute = since(off, began), time.Time{}
		default:
			off, mute = time.Time{}, since(mute, began)
		}
		switch {
		case nc.IsClosed():
			return nil, fmt.Errorf("wait for JetStream: %w", nats.ErrConnectionClosed)
		case !off.IsZero() && time.Since(off) > jetStreamOff && errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
			return nil, fmt.Errorf("JetStream at %s is off for this account: allow it in the server's configuration (accounts, jetstream: enabled): %w", at(nc), err)
		case !off.IsZero() && time.Since(off) > jetStreamOff:
			return nil, fmt.Errorf("JetStream is off at %s: start nats-server with -js: %w", at(nc), err)
		case !mute.IsZero() && time.Since(mute) > jetStreamMute:
			return nil, fmt.Errorf("JetStream at %s has not answered for %s; a cluster needs a majority of its JetStream servers: %w", at(nc), jetStreamMute, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(jetStreamAgain):
		}
	}
}

func isOff(err error) bool {
	return errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount)
}

// since keeps the start of a state that goes on.
func since(start, now time.Time) time.Time {
	if start.IsZero() {
		return now
	}
	return start
}

// at is the server of nc, for a message.
func at(nc *nats.Conn) string {
	if url := nc.ConnectedUrlRedacted(); url != "" {
		return url
	}
	return "NATS (not connected)"
}
