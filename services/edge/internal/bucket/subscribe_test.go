package bucket

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
)

func symbols(prefix string, n int) (all []subject.Symbol) {
	for i := range n {
		all = append(all, subject.Symbol(fmt.Sprintf("%s-%d", prefix, i)))
	}
	return all
}

// A symbol that nobody told of is not one without a price: with no router there, a large subscribe is carried out, and
// its prices come when a router does.
func TestUnknownIsNotUnpriced(t *testing.T) {
	b := bench(0)
	o := &outlet{}
	s := join(b, o)
	now := int64(time.Hour)
	request(b, s, now, session.Request{Op: session.OpSubscribe, Symbols: symbols("S", session.MaxUnpriced+1)})
	b.completePending(now + int64(activation))
	if len(s.subs) != session.MaxUnpriced+1 || len(o.took) != 1 || !strings.Contains(o.took[0], `"subscribed"`) {
		t.Errorf("%d subscriptions, %q", len(s.subs), o.took)
	}
}

// The snapshot of mode every is the newest value, not one that the table remembers from before.
func TestEveryDoesNotStartOnARememberedValue(t *testing.T) {
	b := bench(0)
	o := &outlet{}
	s := join(b, o)
	now := int64(time.Hour)
	u := b.topic("X")
	publish(b, u, 10, now)
	request(b, s, now, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"X"}, Mode: session.Every})
	b.syncInterest(now)
	now += int64(activation)
	b.completePending(now) // no router yet
	publish(b, u, 100, now)
	b.goLive(u, now)
	b.flushDue(now)
	publish(b, u, 101, now)
	b.flushDue(now)
	var got []uint64
	for _, line := range o.took[1:] {
		for l := range splitLines(line) {
			m, err := session.DecodeMessage(session.JSON, []byte(l))
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, m.Seq)
		}
	}
	if fmt.Sprint(got) != "[100 101]" {
		t.Errorf("got %v", got)
	}
}

// A socket may refuse the handshake's answer and be ready again before the worker knows the session.
func TestWritableBeforeOpened(t *testing.T) {
	b := bench(0)
	s := b.Open(bare{})
	s.Writable()
	b.work()
	o := &outlet{}
	s.Start(o)
	b.work()
	if o.writes == 0 {
		t.Error("the outbox was not written")
	}
	s.Close()
	b.work()
}

// Symbols that nobody trades, taken and left by one client, do not fill a part beyond what the registry takes.
func TestPartsAreBounded(t *testing.T) {
	b := bench(0)
	o := &outlet{}
	s := join(b, o)
	now := int64(time.Hour)
	for i := range 1000 {
		all := symbols(fmt.Sprintf("J%d", i), session.MaxUnpriced)
		request(b, s, now, session.Request{Op: session.OpSubscribe, Symbols: all})
		b.completePending(now + int64(activation))
		request(b, s, now, session.Request{Op: session.OpUnsubscribe, Symbols: all})
	}
	for p := range b.interest.parts {
		if n := len(b.interest.parts[p]); n > control.MaxPartSymbols {
			t.Fatalf("part %d has %d symbols", p, n)
		}
	}
	if !strings.Contains(strings.Join(o.took, ""), `"unavailable"`) {
		t.Error("nothing was refused")
	}
}

// A ring is not kept for a reader that left before the routers were told of him.
func TestRingEndsWithItsReaders(t *testing.T) {
	b := bench(0)
	u := live(b, "X", control.Latest)
	s := join(b, &outlet{})
	now := int64(time.Hour)
	request(b, join(b, &outlet{}), now, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"X"}})
	request(b, s, now, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"X"}, Mode: session.Every})
	b.dropSession(s, now)
	b.completePending(now)
	b.syncInterest(now)
	if u.ring != nil || u.every != 0 {
		t.Errorf("ring %v, %d readers", u.ring, u.every)
	}
}
