package mirror

import (
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/tickfan/tickfan/libs/natsd"
	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/proto/subject"
)

// TestMain leaves out what the embedded server waits with for a home to which there is no link.
func TestMain(m *testing.M) {
	const server = "github.com/nats-io/nats-server/v2/server"
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction(server+".(*stream).setupMirrorConsumer.func3"),
		goleak.IgnoreTopFunction(server+".(*stream).tryDeleteSourcingConsumer.func1"),
		// Left behind, with the clock that it uses, where a stream is made that is just being deleted.
		goleak.IgnoreAnyFunction(server+".(*fileStore).flushStreamStateLoop"), goleak.IgnoreTopFunction(server+"/ats.Register.func1"))
}

const (
	home     = "home"
	patience = 20 * time.Second
)

// world is home and a region. There is no link between them, so the mirror stays empty: what it holds is tested with real
// regions.
type world struct {
	Options
	t    *testing.T
	home *natstest.Server
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, home: natstest.StartWith(t, natsd.Options{JetStream: true, Domain: home})}
	region := natstest.StartWith(t, natsd.Options{JetStream: true, Domain: "eu"})
	w.Options = Options{Home: home, Replicas: 1, Log: slog.New(slog.DiscardHandler)}
	var err error
	if w.JS, err = jetstream.New(region.Connect(t)); err != nil {
		t.Fatal(err)
	}
	if w.Away, err = jetstream.NewWithDomain(w.home.Connect(t), home); err != nil {
		t.Fatal(err)
	}
	return w
}

// stamps makes home's TICKS, or changes it. nats-server may be a moment with what it deletes before it can make it again.
func (w *world) stamps(history int64) {
	w.t.Helper()
	natstest.Eventually(w.t, patience, func() bool {
		_, err := w.Away.CreateOrUpdateStream(w.t.Context(), jetstream.StreamConfig{
			Name: subject.StreamTicks, Subjects: []string{subject.TicksAll}, MaxMsgsPerSubject: history, AllowDirect: true,
		})
		return err == nil
	}, "home has TICKS")
}

func (w *world) loses(js jetstream.JetStream) {
	w.t.Helper()
	if err := js.DeleteStream(w.t.Context(), subject.StreamTicks); err != nil {
		w.t.Fatal(err)
	}
}

// looks is as many registries at the same time, whose errors may come of each other, and then one. It gives the mirror.
func (w *world) looks(n int) *jetstream.StreamInfo {
	w.t.Helper()
	var all sync.WaitGroup
	for range n {
		all.Go(func() { _ = look(w.t.Context(), w.Options) })
	}
	all.Wait()
	natstest.Eventually(w.t, patience, func() bool { return look(w.t.Context(), w.Options) == nil }, "a look without a fault")
	stream, err := w.JS.Stream(w.t.Context(), subject.StreamTicks)
	if err != nil {
		w.t.Fatal(err)
	}
	return stream.CachedInfo()
}

func TestMirrorFollowsHome(t *testing.T) {
	w := newWorld(t)
	if err := look(t.Context(), w.Options); err == nil {
		t.Error("a mirror of what is not there")
	}
	w.stamps(10)
	first := w.looks(4)
	if m := first.Config.Mirror; m == nil || m.Name != subject.StreamTicks || first.Config.MaxMsgsPerSubject != 10 {
		t.Fatalf("made %+v", first.Config)
	}
	same := func(when string) {
		t.Helper()
		if info := w.looks(4); !info.Created.Equal(first.Created) {
			t.Errorf("%s: made again", when)
		}
	}
	same("nothing happened")
	w.stamps(20)
	same("home keeps more")
	if n := w.looks(0).Config.MaxMsgsPerSubject; n != 20 {
		t.Errorf("keeps %d ticks a symbol, want 20", n)
	}

	// Home loses its stream, and makes another.
	w.loses(w.Away)
	same("home has none")
	w.stamps(20)
	second := w.looks(4)
	if !second.Created.After(first.Created) {
		t.Error("not made again when home's stream was")
	}
	first = second
	same("made again before")

	w.home.Stop()
	same("home away")
}

func TestNoMirrorOfAnothersStream(t *testing.T) {
	w := newWorld(t)
	w.stamps(10)
	if _, err := w.JS.CreateStream(t.Context(), jetstream.StreamConfig{Name: subject.StreamTicks, Subjects: []string{subject.TicksAll}}); err != nil {
		t.Fatal(err)
	}
	if err := look(t.Context(), w.Options); err != errNoMirror {
		t.Errorf("got %v", err)
	}
	w.loses(w.JS)
	w.looks(0)
}
