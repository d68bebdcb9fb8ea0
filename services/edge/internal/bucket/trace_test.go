package bucket

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tickfan/tickfan/libs/telemetry"
	"github.com/tickfan/tickfan/libs/telemetry/tracetest"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// traces gives a bucket whose traces are kept, and those whose names begin so once it has stopped.
func traces(t *testing.T, gap time.Duration) (b *Bucket, stop func(name string) []tracetest.Span) {
	c := tracetest.Start(t)
	for _, e := range c.Env() {
		name, value, _ := strings.Cut(e, "=")
		t.Setenv(name, value)
	}
	tel, err := telemetry.New("edge")
	if err != nil {
		t.Fatal(err)
	}
	b = bench(gap)
	b.done = make(chan struct{})
	if b.o.Tracer, err = tel.Tracer(t.Context(), "edge"); err != nil {
		t.Fatal(err)
	}
	b.o.Traces = b.o.Tracer.Cap(100)
	return b, func(name string) (all []tracetest.Span) {
		b.stop()
		if err := tel.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		for _, s := range c.Spans() {
			if strings.HasPrefix(s.Name, name) {
				all = append(all, s)
			}
		}
		return all
	}
}

// arrive has ticks of one seq come in a batch, with a trace each.
func arrive(t *testing.T, b *Bucket, trace string, seq uint64, now int64, all ...subject.Symbol) {
	t.Helper()
	m := tick.Batch{Router: "r1.1", Number: b.feed.number() + 1}
	for _, sym := range all {
		tk := tick.Tick{Symbol: sym, Position: tick.Position{Epoch: 1, Seq: seq}, At: time.Now().UnixMicro(), Quote: tick.Quote{Price: tick.NewDecimal(seq, 2)}}
		item, err := tick.WithTrace(tk.Append(nil), trace)
		if err != nil {
			t.Fatal(err)
		}
		m.Items = append(m.Items, item)
	}
	b.feed.batch(b, m.Append(nil), now)
}

func (f *feed) number() uint64 {
	if r := f.routers["r1.1"]; r != nil {
		return r.number
	}
	return 0
}

func counts(s tracetest.Span) string {
	a := s.Attributes
	return fmt.Sprintf("%s: %s to %s, %s conflated, %s late", a["tickfan.seq"], a["tickfan.written"], a["tickfan.subscribers"], a["tickfan.conflated"], a["tickfan.late"])
}

// Who goes before a traced tick was written to him does not lack it, who comes is counted, whatever took the tick's place
// conflates it, and who takes every tick has it later.
func TestTraceCounts(t *testing.T) {
	subscribe := func(b *Bucket, o Outlet, now int64, m session.Mode) *Session {
		s := join(b, o)
		request(b, s, now, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"X"}, Mode: m})
		return s
	}
	for name, c := range map[string]struct {
		do   func(b *Bucket, u *topic, leaver *Session, now int64)
		want string
	}{
		"written": {func(*Bucket, *topic, *Session, int64) {}, "2: 1 to 3, 0 conflated, 2 late"},
		"unsubscribes": {func(b *Bucket, _ *topic, s *Session, now int64) {
			request(b, s, now, session.Request{Op: session.OpUnsubscribe, Symbols: []subject.Symbol{"X"}})
		}, "2: 1 to 2, 0 conflated, 1 late"},
		"goes":     {func(b *Bucket, _ *topic, s *Session, now int64) { b.dropSession(s, now) }, "2: 1 to 2, 0 conflated, 1 late"},
		"comes":    {func(b *Bucket, _ *topic, _ *Session, now int64) { subscribe(b, &outlet{}, now, session.Latest) }, "2: 2 to 4, 0 conflated, 2 late"},
		"again":    {func(b *Bucket, _ *topic, s *Session, now int64) { s.apply(want{t: s.subs[0].t}, 0, now) }, "2: 1 to 3, 0 conflated, 2 late"},
		"repaired": {func(b *Bucket, u *topic, _ *Session, now int64) { publish(b, u, 3, now) }, "2: 1 to 3, 1 conflated, 1 late"},
		"next":     {func(b *Bucket, _ *topic, _ *Session, now int64) { arrive(t, b, "", 3, now, "X") }, "2: 1 to 3, 1 conflated, 1 late"},
		"twice":    {func(b *Bucket, _ *topic, _ *Session, now int64) { arrive(t, b, parent, 2, now, "X") }, "2: 1 to 3, 0 conflated, 2 late"},
	} {
		t.Run(name, func(t *testing.T) {
			b, stop := traces(t, 0)
			u := live(b, "X", control.Every)
			now := int64(time.Hour)
			publish(b, u, 1, now)
			blocked := func() int { return 0 }
			quick, leaver, slow := &outlet{}, &outlet{}, &outlet{}
			b.feed.confirmed[u.part] = u.number
			subscribe(b, quick, now, session.Latest)
			s := subscribe(b, leaver, now, session.Latest)
			subscribe(b, slow, now, session.Every)
			leaver.take, slow.take = blocked, blocked
			arrive(t, b, parent, 2, now, "X")
			b.flushDue(now)
			c.do(b, u, s, now)
			b.flushDue(now)
			spans := stop("process fanout")
			if len(spans) != 1 || counts(spans[0]) != c.want {
				for _, s := range spans {
					t.Log(counts(s))
				}
				t.Errorf("want %s", c.want)
			}
		})
	}
}

// What no router has written is no trace: it would begin one that nobody has rationed.
func TestJunkBeginsNoTrace(t *testing.T) {
	b, stop := traces(t, 0)
	live(b, "X", control.Latest)
	now := int64(time.Hour)
	request(b, join(b, &outlet{}), now, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"X"}})
	for k, junk := range []string{"", "junk", strings.Repeat("0", 1000), parent[:len(parent)-2] + "00", strings.Replace(parent, "4bf92f3577b34da6a3ce929d0e0e4736", strings.Repeat("0", 32), 1)} {
		arrive(t, b, junk, uint64(k+1), now, "X")
		b.flushDue(now)
	}
	if all := stop(""); len(all) != 0 {
		t.Errorf("%d spans: %+v", len(all), all)
	}
}

// Where every tick is traced, a batch of hundreds names only some of its others.
func TestTraceLinksAreBounded(t *testing.T) {
	b, stop := traces(t, 0)
	now := int64(time.Hour)
	all := symbols("X", 100)
	for _, sym := range all {
		live(b, sym, control.Latest)
	}
	request(b, join(b, &outlet{}), now, session.Request{Op: session.OpSubscribe, Symbols: all})
	arrive(t, b, parent, 1, now, all...)
	spans := stop("process fanout")
	if len(spans) != len(all) {
		t.Fatalf("%d spans", len(spans))
	}
	for _, s := range spans {
		if n := len(s.Links); n < traceLinks || n > 2*traceLinks {
			t.Errorf("%d links", n)
		}
	}
}

// Each span of a subscribe ends, with what went wrong.
func TestTraceOfSubscribeEnds(t *testing.T) {
	b, stop := traces(t, 0)
	now := int64(time.Hour)
	request(b, join(b, &outlet{}), now, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"A"}})
	b.syncInterest(now) // the registry does not answer
	now += int64(confirmTime)
	request(b, join(b, &outlet{}), now, session.Request{Op: session.OpSubscribe, Symbols: []subject.Symbol{"B"}})
	b.syncInterest(now)
	b.completePending(now)
	errs := map[string]int{}
	spans := stop("")
	for _, s := range spans {
		errs[s.Name+": "+s.Error]++
	}
	for _, want := range []string{"subscribe: " + errUnserved.Error(), "subscribe: " + errStopped.Error(),
		"send registry.{region}.interest: " + errUnanswered.Error(), "send registry.{region}.interest: " + errStopped.Error()} {
		if errs[want] != 1 || len(spans) != 4 {
			t.Errorf("%d of %q; all: %v", errs[want], want, errs)
		}
	}
}
