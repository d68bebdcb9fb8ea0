package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tickfan/tickfan/libs/natstest"
	tickfan "github.com/tickfan/tickfan/libs/sdk/go"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/tests/stack"
)

const (
	publishEvery = 10 * time.Millisecond
	answerTime   = 2 * time.Second
)

// sent is a price that ingest has accepted.
type sent struct {
	tickfan.Position
	price string
}

// publisher publishes rising prices of one symbol without end, as a request each.
type publisher struct {
	t      *testing.T
	nc     *nats.Conn
	symbol string
	stop   func() // and wait

	mu sync.Mutex
	n  int    // requests made
	ok []sent // answered ok, in order
}

// publish starts one and waits until it is answered.
func publish(t *testing.T, s *stack.Stack, symbol string) *publisher {
	t.Helper()
	return publishOn(t, s.Connect(), symbol)
}

func publishOn(t *testing.T, nc *nats.Conn, symbol string) *publisher {
	t.Helper()
	p := &publisher{t: t, nc: nc, symbol: symbol}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.run(ctx)
	}()
	p.stop = sync.OnceFunc(func() {
		cancel()
		<-ended
	})
	t.Cleanup(p.stop)
	p.goesOn()
	return p
}

func (p *publisher) run(ctx context.Context) {
	ticker := time.NewTicker(publishEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			p.one()
		}
	}
}

// one publishes the next price and tells whether it was accepted.
func (p *publisher) one() bool {
	p.mu.Lock()
	p.n++
	price := fmt.Sprintf("%d.%02d", 100+p.n/100, p.n%100)
	p.mu.Unlock()
	a, err := request(p.nc, "ingest."+p.symbol, fmt.Appendf(nil, `{"price":%q}`, price))
	if err != nil || !a.OK {
		return false
	}
	p.mu.Lock()
	p.ok = append(p.ok, sent{tickfan.Position{Epoch: a.Epoch, Seq: a.Seq}, price})
	p.mu.Unlock()
	return true
}

// accepted is what ingest has accepted so far.
func (p *publisher) accepted() []sent {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ok[:len(p.ok):len(p.ok)]
}

// goesOn waits until some more prices are accepted, and gives the last of them.
func (p *publisher) goesOn() sent {
	p.t.Helper()
	before := len(p.accepted())
	natstest.Eventually(p.t, patience, func() bool { return len(p.accepted()) >= before+20 }, "prices of %s are accepted", p.symbol)
	ok := p.accepted()
	return ok[len(ok)-1]
}

// last stops it and publishes one more price, which then is the newest.
func (p *publisher) last() sent {
	p.t.Helper()
	p.stop()
	natstest.Eventually(p.t, patience, p.one, "a last price of %s is accepted", p.symbol)
	ok := p.accepted()
	return ok[len(ok)-1]
}

// request publishes a price as `nats req` does.
func request(nc *nats.Conn, subject string, payload []byte) (a control.IngestAnswer, err error) {
	m, err := nc.Request(subject, payload, answerTime)
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(m.Data, &a); err != nil {
		return a, fmt.Errorf("answer %q: %w", m.Data, err)
	}
	return a, nil
}

// set publishes one price until it is accepted.
func set(t *testing.T, nc *nats.Conn, symbol, price string) sent {
	t.Helper()
	var a control.IngestAnswer
	natstest.Eventually(t, patience, func() bool {
		var err error
		a, err = request(nc, "ingest."+symbol, fmt.Appendf(nil, `{"price":%q}`, price))
		return err == nil && a.OK
	}, "price %s of %s is accepted", price, symbol)
	return sent{tickfan.Position{Epoch: a.Epoch, Seq: a.Seq}, price}
}
