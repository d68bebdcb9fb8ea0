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
	askEvery   = 500 * time.Millisecond
	askSymbols = 24 // in turn, so that each is wanted by nobody any more when its turn comes again
	askTick    = 5 * time.Millisecond
)

// asker is a client that subscribes to a symbol that nobody else wants, again and again, and takes the time until a
// price comes that was published after it asked: until then the edge, the registry and a router must have heard of it.
type asker struct {
	*tickfan.Client
	nc    *nats.Conn
	name  string
	times *times
	says  func(format string, args ...any)
}

func startAsker(t *testing.T, name, edges, servers string, took *times, says func(string, ...any)) {
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
	a := &asker{Client: c, nc: nc, name: name, times: took, says: says}
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		a.run(ctx)
	}()
	t.Cleanup(func() {
		end()
		<-ended
		_ = c.Close() // always nil
		nc.Close()
	})
}

func (a *asker) run(ctx context.Context) {
	every := time.NewTicker(askEvery)
	defer every.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		symbol := fmt.Sprintf("ASK%d-%s", i%askSymbols, a.name)
		took, err := a.one(ctx, symbol)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			a.says("%s has no price of %s %s after it asked for it: %v", a.name, symbol, took, err)
			return
		}
		a.times.add(took)
	}
}

// one subscribes to a symbol, publishing it all the while, and tells how long it took to get a price that is younger.
func (a *asker) one(ctx context.Context, symbol string) (took time.Duration, err error) {
	began := time.Now()
	// What mends a blow may take as long as it takes; what follows may take as long as anything.
	ctx, cancel := context.WithTimeout(ctx, 3*well)
	defer cancel()
	published := make(chan struct{})
	go func() {
		defer close(published)
		tick := time.NewTicker(askTick)
		defer tick.Stop()
		for ctx.Err() == nil {
			_ = a.nc.Publish("ingest."+symbol, priceOf(uint64(time.Since(began)/askTick), time.Now())) // the next one will do
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	}()
	defer func() { cancel(); <-published }()
	if _, err := a.Subscribe(ctx, []string{symbol}); err != nil {
		return time.Since(began), err
	}
	for event, err := range a.Events(ctx) {
		if err != nil {
			return time.Since(began), err
		}
		if t, ok := event.(tickfan.Tick); ok && t.Symbol == symbol && !t.Time().Before(began.Truncate(time.Microsecond)) {
			took = time.Since(began)
			return took, a.Unsubscribe(ctx, symbol)
		}
	}
	return time.Since(began), errors.New("no more events")
}
