//go:build linux

package load

import (
	"bytes"
	"fmt"
	"net/http"
	"time"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
	"github.com/tickfan/tickfan/tests/load/fleet"
	"github.com/tickfan/tickfan/tests/stack"
)

// prime gives each symbol its first price and waits until every edge can give them: who subscribes now is answered with
// a snapshot.
func (s *site) prime() {
	s.t.Helper()
	if len(s.numbers) == 0 {
		return
	}
	for i := range s.numbers {
		s.publishFirst(i, fleet.Symbol(i), nil)
	}
	s.awaitPrice(fleet.Symbol(len(s.numbers) - 1))
}

// publishFirst publishes a symbol's first price and waits for ingest's word that it is taken; nil: that of now.
func (s *site) publishFirst(i int, symbol string, quote []byte) {
	s.t.Helper()
	s.numbers[i]++
	if quote == nil {
		quote = s.quote(i)
	}
	answer, err := s.nc.Request(subject.Ingest(subject.Symbol(symbol)), quote, patience)
	if err != nil {
		s.t.Fatalf("publish first price of %s: %v", symbol, err)
	}
	if !bytes.HasPrefix(answer.Data, []byte(`{"ok":true`)) {
		s.t.Fatalf("first price of %s: %s", symbol, answer.Data)
	}
}

// awaitPrice waits until every edge can give the symbols' prices.
func (s *site) awaitPrice(symbols ...string) {
	s.t.Helper()
	for _, e := range s.edges {
		for _, symbol := range symbols {
			natstest.Eventually(s.t, patience, func() bool {
				status, _, err := stack.Get(e.URL() + session.PathTicks + symbol)
				return err == nil && status == http.StatusOK
			}, "%s has a price of %s", e.Name(), symbol)
		}
	}
}

// name is a run's symbol.
func name(symbol int) subject.Symbol { return subject.Symbol(fleet.Symbol(symbol)) }

// quote is the symbol's price of now, as a publisher gives it. It is good until the next call.
func (s *site) quote(symbol int) []byte {
	s.buf = fmt.Appendf(s.buf[:0], `{"price":"%s","ts":%d}`, fleet.Price(s.numbers[symbol]), time.Now().UnixMicro())
	return s.buf
}

// payload is what the edge would send for it.
func (s *site) payload(symbol int) []byte {
	price := tick.MustDecimal(fleet.Price(s.numbers[symbol]))
	s.buf = session.AppendTick(session.JSON, s.buf[:0], &tick.Tick{
		Symbol: name(symbol), Position: tick.Position{Epoch: 1763769600, Seq: s.numbers[symbol]},
		Quote: tick.Quote{Price: price, TS: time.Now().UnixMicro()},
	})
	return s.buf
}

// next publishes the symbol's next price.
func (s *site) next(symbol int) {
	s.t.Helper()
	s.numbers[symbol]++
	var err error
	if s.base != nil {
		err = s.base.Publish(fleet.Symbol(symbol), s.payload(symbol))
	} else {
		err = s.nc.Publish(subject.Ingest(name(symbol)), s.quote(symbol))
	}
	if err != nil {
		s.t.Fatalf("publish: %v", err)
	}
}

// publish publishes for some time, the symbols in turn.
func (s *site) publish(rate float64, d time.Duration) {
	s.t.Helper()
	began := time.Now()
	p := newPace(rate, began)
	timer := time.NewTimer(0)
	defer timer.Stop()
	count := 0
	for ; p.next.Sub(began) < d; count++ {
		<-timer.C
		s.next(count % len(s.numbers))
		p.done(time.Now())
		timer.Reset(time.Until(p.next))
	}
	s.run.AskedRate, s.run.Published, s.run.Window = rate, count, time.Since(began).Seconds()
}

// warmUp publishes until everything has run for a while, and waits for those crowds that read all.
func (s *site) warmUp(rate float64, d time.Duration, crowds ...string) {
	s.t.Helper()
	s.publish(rate, d)
	for _, c := range crowds {
		s.await(c, patience)
	}
}
