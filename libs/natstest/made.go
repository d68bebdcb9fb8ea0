package natstest

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// errStoreFailed is nats-server's "error creating store for stream", which nats.go has no name for.
const errStoreFailed jetstream.ErrorCode = 10049

// Made gives the stream or KV store that create makes. A server refuses it while it is still removing the folders of the one
// that was deleted just before; who makes it then tries again, as every service does.
func Made[T any](t testing.TB, create func() (T, error)) (made T) {
	t.Helper()
	Eventually(t, 5*time.Second, func() bool {
		var err error
		if made, err = create(); err == nil {
			return true
		}
		if api := (*jetstream.APIError)(nil); !errors.As(err, &api) || api.ErrorCode != errStoreFailed {
			t.Fatal(err)
		}
		return false
	}, "the stream can be made again")
	return made
}
