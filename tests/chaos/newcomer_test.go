package chaos

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	tickfan "github.com/tickfan/tickfan/libs/sdk/go"
)

const (
	newcomerEvery   = 500 * time.Millisecond
	newcomerSymbols = 24 // in turn, so that each is wanted by nobody any more when its turn comes again
	newcomerTick    = 5 * time.Millisecond
)

// newcomer is a client that subscribes to a symbol that nobody else wants, again and again, and takes the time until a
// price comes that was published after it asked: until then the edge, the registry and a router must have heard of it.
type newcomer struct {
	*tickfan.Client
	nc    *nats.Conn
	name  string
	times *times
	says  func(format string, args ...any)
}

func startNewcomer(t *testing.T, name, edges, servers string, took *times, says func(string, ...any)) {
	t.Helper()
	// What cannot leave at once is no price to wait for.
	nc, err := nats.Connect(servers, nats.Name(name), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond), nats.ReconnectBufSize(-1),
		nats.PingInterval(time.Second), nats.IgnoreDiscoveredServers(), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatalf("connect to NATS: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), well)
	defer cancel()
	c, err := tickfan.Dial(ctx, edges, tickfan.Options{})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	n := &newcomer{Client: c, nc: nc, name: name, times: took, says: says}
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		n.run(ctx)
	}()
	t.Cleanup(func() {
		end()
		<-ended
		_ = c.Close() // always nil
		nc.Close()
	})
}

func (n *newcomer) run(ctx context.Context) {
	every := time.NewTicker(newcomerEvery)
	defer every.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		symbol := fmt.Sprintf("NEW%d-%s", i%newcomerSymbols, n.name)
		took, err := n.one(ctx, symbol)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			n.says("%s has no price of %s %s after it asked for it: %v", n.name, symbol, took, err)
			return
		}
		n.times.add(took)
	}
}

// one subscribes to a symbol, publishing it all the while, and tells how long it took to get a price that is younger.
func (n *newcomer) one(ctx context.Context, symbol string) (took time.Duration, err error) {
	began := time.Now()
	// What mends a blow may take as long as it takes; what follows may take as long as anything.
	ctx, cancel := context.WithTimeout(ctx, 3*well)
	defer cancel()
	published := make(chan struct{})
	go func() {
		defer close(published)
		tick := time.NewTicker(newcomerTick)
		defer tick.Stop()
		for ctx.Err() == nil {
			_ = n.nc.Publish("ingest."+symbol, priceOf(uint64(time.Since(began)/newcomerTick), time.Now())) // the next one will do
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	}()
	defer func() { cancel(); <-published }()
	if _, err := n.Subscribe(ctx, []string{symbol}); err != nil {
		return time.Since(began), err
	}
	for event, err := range n.Events(ctx) {
		if err != nil {
			return time.Since(began), err
		}
		if t, ok := event.(tickfan.Tick); ok && t.Symbol == symbol && !t.Time().Before(began.Truncate(time.Microsecond)) {
			took = time.Since(began)
			return took, n.Unsubscribe(ctx, symbol)
		}
	}
	return time.Since(began), errors.New("no more events")
}
