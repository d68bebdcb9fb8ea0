package store

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

var quiet = slog.New(slog.DiscardHandler)

func begin(t *testing.T) (context.Context, *nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc := natstest.Start(t).Connect(t)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx, nc, js
}

func config(ctx context.Context, t *testing.T, js jetstream.JetStream) jetstream.StreamConfig {
	t.Helper()
	stream, err := js.Stream(ctx, subject.StreamTicks)
	if err != nil {
		t.Fatal(err)
	}
	return stream.CachedInfo().Config
}

func TestEnsure(t *testing.T) {
	ctx, _, js := begin(t)
	if _, err := Ensure(ctx, js, Config{History: 3, Replicas: 1}, quiet); err != nil {
		t.Fatal(err)
	}
	cfg := config(ctx, t, js)
	if cfg.MaxMsgsPerSubject != 3 || cfg.MaxAge != 0 || cfg.MaxBytes != -1 || cfg.MaxMsgs != -1 || !cfg.AllowDirect ||
		cfg.Discard != jetstream.DiscardOld || cfg.Storage != jetstream.FileStorage || len(cfg.Subjects) != 1 || cfg.Subjects[0] != "ticks.>" {
		t.Errorf("made %+v", cfg)
	}

	// What is an operator's stays; what is ours comes back.
	cfg.MaxAge, cfg.Description = time.Hour, "mine"
	if _, err := js.UpdateStream(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := Ensure(ctx, js, Config{History: 5, Replicas: 1}, quiet); err != nil {
		t.Fatal(err)
	}
	if cfg := config(ctx, t, js); cfg.MaxMsgsPerSubject != 5 || cfg.MaxAge != 0 || cfg.Description != "mine" {
		t.Errorf("updated to %+v", cfg)
	}

	if (Config{History: 5, Replicas: 1}).apply(&cfg); (Config{History: 5, Replicas: 1}).apply(&cfg) {
		t.Error("applied twice, it changes something twice")
	}
}

func TestReadLastsOfNothing(t *testing.T) {
	ctx, _, js := begin(t)
	if _, err := ReadLasts(ctx, js); err == nil {
		t.Error("no error without a stream")
	}
	if _, err := Ensure(ctx, js, Config{History: 3, Replicas: 1}, quiet); err != nil {
		t.Fatal(err)
	}
	last, err := ReadLasts(ctx, js)
	if err != nil || len(last.Symbols) != 0 || last.Epoch != 0 {
		t.Errorf("got %+v, %v", last, err)
	}
}

// More symbols than a get of the last by subject would take, and junk among them.
func TestReadLasts(t *testing.T) {
	ctx, nc, js := begin(t)
	if _, err := Ensure(ctx, js, Config{History: 2, Replicas: 1}, quiet); err != nil {
		t.Fatal(err)
	}
	const symbols, rounds = 2500, 4
	for seq := range uint64(rounds) {
		for i := range symbols {
			tk := tick.Tick{Symbol: subject.Symbol(fmt.Sprintf("S%d", i)), Position: tick.Position{Epoch: uint64(10 + i%3), Seq: seq + 1}}
			tk.Price = tick.NewDecimal(uint64(i+1), 2)
			if err := nc.Publish(subject.Ticks(tk.Symbol), tk.Append(nil)); err != nil {
				t.Fatal(err)
			}
		}
	}
	far := tick.Tick{Symbol: "FAR", Position: tick.Position{Epoch: 1 << 63, Seq: 1}, Quote: tick.Quote{Price: tick.MustDecimal("1")}}
	for subj, p := range map[string][]byte{
		"ticks.JUNK":   []byte("junk"),
		"ticks.A.B":    []byte(`{"price":"1"}`),
		"ticks.FAR":    far.Append(nil),
		"ticks.OTHERS": (&tick.Tick{Symbol: "S1", Position: tick.Position{Epoch: 99, Seq: 1}, Quote: far.Quote}).Append(nil),
	} {
		if _, err := js.Publish(ctx, subj, p); err != nil {
			t.Fatal(err)
		}
	}
	last, err := ReadLasts(ctx, js)
	if err != nil {
		t.Fatal(err)
	}
	if len(last.Symbols) != symbols || last.Epoch != 12 || last.Bad != 4 {
		t.Fatalf("%d symbols, epoch %d, %d bad; want %d, 12, 4", len(last.Symbols), last.Epoch, last.Bad, symbols)
	}
	for i := range symbols {
		want := Last{Position: tick.Position{Epoch: uint64(10 + i%3), Seq: rounds}, Price: tick.NewDecimal(uint64(i+1), 2)}
		if got := last.Symbols[subject.Symbol(fmt.Sprintf("S%d", i))]; got != want {
			t.Fatalf("S%d: %+v, want %+v", i, got, want)
		}
	}
	stream, err := js.Stream(ctx, subject.StreamTicks)
	if err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, 5*time.Second, func() bool {
		info, err := stream.Info(ctx)
		return err == nil && info.State.Consumers == 0
	}, "the consumer is gone")
}
