package e2e

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tickfan/tickfan/libs/natstest"
	tickfan "github.com/tickfan/tickfan/libs/sdk/go"
	"github.com/tickfan/tickfan/tests/stack"
)

// stopTime is how long a process may take from the signal to its end.
const stopTime = 5 * time.Second

// checkStopped fails the test unless a service ended as one should that was told to.
func checkStopped(t *testing.T, when string, p *stack.Service, e stack.Exit) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(p.Log()), "\n")
	last := lines[len(lines)-1]
	if e.Code != 0 || e.Took > stopTime || !strings.Contains(last, "level=INFO msg=stopped service=") {
		t.Errorf("%s, %s: exit code %d after %s, last line %q", p.Name(), when, e.Code, e.Took.Round(time.Millisecond), last)
	}
	t.Logf("%s, %s: %s", p.Name(), when, e.Took.Round(time.Millisecond))
}

// TestStop: SIGTERM ends every service within 5 s, with exit code 0 and a last line that says so, whatever NATS does. The
// clients of an edge that stops go on at the next.
func TestStop(t *testing.T) {
	t.Parallel()
	s := start(t)
	a, b := s.Edges[0], s.Edges[1]
	const symbol = "PUB-USD"
	pub := publish(t, s, symbol)
	c := dial(t, "client", tickfan.MessagePack, a, b)
	c.subscribe([]string{symbol}, tickfan.Every())
	c.reaches(symbol, pub.goesOn().Position)

	checkStopped(t, "with a client", a, a.Stop(syscall.SIGTERM))
	natstest.Eventually(t, patience, func() bool { n, _ := c.connection(); return n == 2 }, "the client is at the other edge")
	c.reaches(symbol, pub.goesOn().Position)
	if why := c.firstLoss(); !comesBack(why) {
		t.Errorf("the client was let go with %v", why)
	}
	region := newRegion(t, s.Connect())
	natstest.Eventually(t, patience, func() bool {
		return len(region.edges("edge-a-")) == 0 && len(region.interest("edge-a-")) == 0
	}, "the edge's lease and interest are gone")
	newest := pub.last()
	c.endsOn(symbol, newest)
	c.complete(symbol, pub.accepted())

	for _, p := range []*stack.Service{s.Router, s.Ingest, s.Registry, b} {
		checkStopped(t, "last client there", p, p.Stop(syscall.SIGTERM))
	}
	_ = c.Close() // no edge is left to come back to

	for _, p := range s.Services() {
		p.Start()
	}
	for _, p := range s.Services() {
		p.AwaitReady()
	}
	s.NATS.Kill()
	stopAll(t, "NATS killed", s)

	for _, p := range s.Services() {
		p.Start()
	}
	stopAll(t, "no NATS since the start", s)
}

// stopAll stops all services at once.
func stopAll(t *testing.T, when string, s *stack.Stack) {
	t.Helper()
	began := time.Now()
	for _, p := range s.Services() {
		p.Signal(syscall.SIGTERM)
	}
	for _, p := range s.Services() {
		checkStopped(t, when, p, p.Wait(began))
	}
}

// comesBack tells whether a connection ended in a way that asks the client to come back: the edge closed it so, or the client
// left because it was asked to.
func comesBack(err error) bool {
	closed, ok := errors.AsType[*tickfan.CloseError](err)
	return ok && closed.Code.ComeBack() || strings.Contains(err.Error(), "asked to go to another one")
}

// TestStopTogether: where all that was started stops at once, NATS too, nobody warns that the others are gone, and in the
// peace before nobody had anything to warn of.
func TestStopTogether(t *testing.T) {
	t.Parallel()
	s := start(t, "--source", "generator")
	pub := publish(t, s, "PUB-USD")
	c := dial(t, "client", tickfan.JSON, s.Edges[0])
	c.subscribe([]string{"PUB-USD"})
	c.reaches("PUB-USD", pub.goesOn().Position)
	pub.last()
	_ = c.Close()
	if n := s.Ingest.Metric("tickfan_ingest_published_again_total"); n != 0 {
		t.Errorf("%v ticks published again in peace", n)
	}
	began := time.Now()
	for _, p := range s.Services() {
		p.Signal(syscall.SIGTERM)
	}
	for _, p := range s.Services() { // who has not been told yet has reason to warn
		p.Await(`msg=stopping`)
	}
	s.NATS.Signal(syscall.SIGTERM)
	for _, p := range s.Services() {
		p.Wait(began)
		for line := range strings.Lines(p.Log()) {
			if strings.Contains(line, "level=WARN") || strings.Contains(line, "level=ERROR") {
				t.Errorf("%s: %s", p.Name(), line)
			}
		}
	}
}
