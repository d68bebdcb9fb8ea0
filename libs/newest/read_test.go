package newest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/libs/natstest"
)

func TestMain(m *testing.M) { natstest.Main(m) }

func stream(t *testing.T, history int64) (*nats.Conn, jetstream.JetStream, jetstream.Stream) {
	t.Helper()
	nc := natstest.Start(t).Connect(t)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "TICKS", Subjects: []string{"ticks.>"}, MaxMsgsPerSubject: history, Storage: jetstream.MemoryStorage,
	})
	if err != nil {
		t.Fatal(err)
	}
	return nc, js, s
}

func publish(t *testing.T, nc *nats.Conn, subject, text string) {
	t.Helper()
	if err := nc.Publish(subject, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

// settle waits until the stream holds n messages.
func settle(t *testing.T, s jetstream.Stream, n uint64) {
	t.Helper()
	natstest.Eventually(t, 10*time.Second, func() bool {
		info, err := s.Info(t.Context())
		return err == nil && info.State.Msgs == n
	}, "%d messages in the stream", n)
}

func noConsumers(t *testing.T, s jetstream.Stream) {
	t.Helper()
	info, err := s.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if info.State.Consumers > 0 {
		t.Errorf("%d consumers left behind", info.State.Consumers)
	}
}

func TestReadWithoutStream(t *testing.T) {
	js, err := jetstream.New(natstest.Start(t).Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Read(t.Context(), js); !errors.Is(err, ErrNoStream) {
		t.Fatalf("got %v, want ErrNoStream", err)
	}
}

func TestReadEmptyStream(t *testing.T) {
	_, js, s := stream(t, 10)
	ticks, err := Read(t.Context(), js)
	if err != nil || len(ticks) != 0 {
		t.Fatalf("%d ticks, %v; want none", len(ticks), err)
	}
	noConsumers(t, s)
}

func TestReadLastOfEachSubject(t *testing.T) {
	nc, js, s := stream(t, 10)
	const symbols = 2*fetchSize + 500 // several fetches, and more than a multi_last get gives
	for round := range 3 {
		for i := range symbols {
			publish(t, nc, fmt.Sprint("ticks.S", i), fmt.Sprint(round))
		}
	}
	publish(t, nc, "ticks.S0", "newest")
	settle(t, s, 3*symbols+1)

	ticks, err := Read(t.Context(), js)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, m := range ticks {
		got[m.Subject] = string(m.Payload)
	}
	if len(ticks) != symbols || len(got) != symbols {
		t.Fatalf("%d ticks of %d subjects, want one each of %d", len(ticks), len(got), symbols)
	}
	for subject, text := range got {
		want := "2"
		if subject == "ticks.S0" {
			want = "newest"
		}
		if text != want {
			t.Fatalf("%s: %q, want %q", subject, text, want)
		}
	}
	noConsumers(t, s)
}

// Each tick pushes the one before it out of the stream, also those that a read is about to give.
func TestReadWhileTicksComeAndGo(t *testing.T) {
	nc, js, s := stream(t, 1)
	const symbols = 3000
	for i := range symbols {
		publish(t, nc, fmt.Sprint("ticks.S", i), "old")
	}
	settle(t, s, symbols)

	for range 5 {
		// A subject may be missing only if a tick came for it after the read began: that one is on ticks.>, too.
		came := map[string]bool{}
		ctx, cancel := context.WithCancel(t.Context())
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			for i := 0; ctx.Err() == nil; i = (i + 7) % symbols {
				subject := fmt.Sprint("ticks.S", i)
				came[subject] = true
				// With an answer each, so that it goes no faster than the server stores.
				if _, err := js.Publish(ctx, subject, []byte("new")); err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		}()
		ticks, err := Read(t.Context(), js)
		cancel()
		<-stopped
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]bool{}
		for _, m := range ticks {
			got[m.Subject] = true
		}
		for i := range symbols {
			if subject := fmt.Sprint("ticks.S", i); !got[subject] && !came[subject] {
				t.Fatalf("%s is missing among %d ticks", subject, len(ticks))
			}
		}
	}
	noConsumers(t, s)
}

func TestReadEndsWithItsContext(t *testing.T) {
	nc, js, s := stream(t, 10)
	publish(t, nc, "ticks.A", "x")
	settle(t, s, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Read(ctx, js); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	noConsumers(t, s)
}

func TestReadOfAServerThatDies(t *testing.T) {
	server := natstest.Start(t)
	js, err := jetstream.New(server.Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	server.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := Read(ctx, js); err == nil || !strings.HasPrefix(err.Error(), "read newest ticks: ") {
		t.Fatalf("got %v", err)
	}
}

// Ingest reads while it holds the lease: a read that went on for ever would keep all prices out.
func TestReadOfAStreamThatIsDeleted(t *testing.T) {
	nc, js, s := stream(t, 1)
	const symbols = 50_000
	for i := range symbols {
		publish(t, nc, fmt.Sprint("ticks.S", i), "x")
	}
	settle(t, s, symbols)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = Read(t.Context(), js) // it may have been quicker than the deletion
	}()
	natstest.Eventually(t, 10*time.Second, func() bool {
		info, err := s.Info(t.Context())
		return err == nil && info.State.Consumers > 0
	}, "the read has begun")
	if err := js.DeleteStream(t.Context(), "TICKS"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(4 * fetchWait):
		t.Fatal("the read goes on")
	}
}

// A question that nobody answers ends the read long before the time for all of it is over.
func TestUnansweredQuestion(t *testing.T) {
	cable := natstest.NewCable(t, natstest.Start(t).URL())
	nc, err := nats.Connect(cable.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	cable.Stall()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := Read(ctx, js); !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		t.Errorf("read ends with %v, %v", err, ctx.Err())
	}
}
