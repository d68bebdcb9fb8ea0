package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	tickfan "github.com/tickfan/tickfan/libs/sdk/go"
	"github.com/tickfan/tickfan/proto/control"
)

const (
	publishEvery = 100 * time.Millisecond // of each symbol
	answerTime   = 2 * time.Second
)

// publisher publishes rising numbers as the prices of all symbols, as requests, without end.
type publisher struct {
	t       *testing.T
	nc      *nats.Conn
	symbols []*published
	running sync.WaitGroup
}

// published is what is known of one symbol.
type published struct {
	symbol string

	mu       sync.Mutex
	number   uint64     // of the last price, whatever became of it
	accepted []accepted // in order of their positions; those that no client can need any more are forgotten
	answered time.Time
}

// accepted is a price that ingest has answered for.
type accepted struct {
	tickfan.Position
	number uint64
}

// price is a number as a price: 100.00 and up, with two digits.
func price(number uint64) string { return fmt.Sprintf("%d.%02d", 100+number/100, number%100) }

// priceOf is what is published.
func priceOf(number uint64, at time.Time) []byte {
	return fmt.Appendf(nil, `{"price":%q,"ts":%d}`, price(number), at.UnixMicro())
}

func number(price string) (uint64, error) {
	n, err := strconv.ParseUint(strings.Replace(price, ".", "", 1), 10, 64)
	return n - 100_00, err
}

func startPublisher(t *testing.T, urls string, symbols []string) *publisher {
	t.Helper()
	nc, err := nats.Connect(urls, nats.Name("publisher"), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond),
		nats.PingInterval(time.Second), nats.IgnoreDiscoveredServers(), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatalf("connect to NATS: %v", err)
	}
	p := &publisher{t: t, nc: nc}
	ctx, cancel := context.WithCancel(context.Background())
	for _, s := range symbols {
		k := &published{symbol: s, answered: time.Now()}
		p.symbols = append(p.symbols, k)
		p.running.Go(func() { p.run(ctx, k) })
	}
	t.Cleanup(func() {
		cancel()
		p.running.Wait()
		nc.Close()
	})
	return p
}

func (p *publisher) run(ctx context.Context, k *published) {
	ticker := time.NewTicker(publishEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			p.one(k)
		}
	}
}

// one publishes a symbol's next price. What is not answered may have been stamped all the same.
func (p *publisher) one(k *published) {
	k.mu.Lock()
	k.number++
	n := k.number
	k.mu.Unlock()
	m, err := p.nc.Request("ingest."+k.symbol, priceOf(n, time.Now()), answerTime)
	var a control.IngestAnswer
	if err != nil || json.Unmarshal(m.Data, &a) != nil || !a.OK {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.answered = time.Now()
	k.accepted = append(k.accepted, accepted{tickfan.Position{Epoch: a.Epoch, Seq: a.Seq}, n})
}

// newest is the last price that was accepted.
func (k *published) newest() accepted {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.accepted) == 0 {
		return accepted{}
	}
	return k.accepted[len(k.accepted)-1]
}

// between are the positions that were accepted after one and before another, of prices before a number: what two leaders
// stamp, each before it hears of the other, comes with the later epoch.
func (k *published) between(from, to tickfan.Position, number uint64) (all []tickfan.Position) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, a := range k.accepted {
		if a.After(from) && to.After(a.Position) && a.number < number {
			all = append(all, a.Position)
		}
	}
	return all
}

// forget drops what came before all that clients still ask for.
func (k *published) forget(before tickfan.Position) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.accepted = slices.DeleteFunc(k.accepted, func(a accepted) bool { return before.After(a.Position) })
}
