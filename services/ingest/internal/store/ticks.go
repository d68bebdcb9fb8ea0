package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/proto/subject"
)

// Config is what an operator chooses of TICKS.
type Config struct {
	History  int64 // ticks kept of each symbol
	Replicas int
}

// Ensure makes TICKS, or brings an existing one to the configuration. There is no age and no byte limit: the newest
// tick of a quiet symbol must never leave it. What else an operator set on the stream (placement, compression) stays.
// next is the sequence of the first message that comes after the look.
func Ensure(ctx context.Context, js jetstream.JetStream, c Config, log *slog.Logger) (next uint64, err error) {
	stream, err := js.Stream(ctx, subject.StreamTicks)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		cfg := jetstream.StreamConfig{
			Name:        subject.StreamTicks,
			Description: "Tickfan: the last ticks of each symbol, as stamped by ingest",
			Storage:     jetstream.FileStorage,
		}
		c.apply(&cfg)
		if _, err := js.CreateStream(ctx, cfg); err != nil {
			return 0, fmt.Errorf("make stream %s: %w", subject.StreamTicks, err)
		}
		log.Info("stream made", "stream", subject.StreamTicks, "history", c.History, "replicas", c.Replicas)
		return 1, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look up stream %s: %w", subject.StreamTicks, err)
	}
	info := stream.CachedInfo()
	cfg, next := info.Config, info.State.LastSeq+1
	if !c.apply(&cfg) {
		return next, nil
	}
	if _, err := js.UpdateStream(ctx, cfg); err != nil {
		return 0, fmt.Errorf("update stream %s: %w", subject.StreamTicks, err)
	}
	log.Info("stream updated", "stream", subject.StreamTicks, "history", c.History, "replicas", c.Replicas)
	return next, nil
}

// apply writes what is ours into cfg and tells whether that changed anything.
func (c Config) apply(cfg *jetstream.StreamConfig) (changed bool) {
	if len(cfg.Subjects) != 1 || cfg.Subjects[0] != subject.TicksAll {
		cfg.Subjects, changed = []string{subject.TicksAll}, true
	}
	set(&cfg.Replicas, c.Replicas, &changed)
	set(&cfg.MaxMsgsPerSubject, c.History, &changed)
	set(&cfg.Retention, jetstream.LimitsPolicy, &changed)
	set(&cfg.Discard, jetstream.DiscardOld, &changed)
	set(&cfg.MaxAge, 0, &changed)
	set(&cfg.MaxBytes, -1, &changed)
	set(&cfg.MaxMsgs, -1, &changed)
	set(&cfg.AllowDirect, true, &changed)
	return changed
}

func set[T comparable](field *T, value T, changed *bool) {
	if *field != value {
		*field, *changed = value, true
	}
}
