package mirror

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/libs/quiet"
	"github.com/tickfan/tickfan/proto/subject"
)

const (
	lookEvery = 5 * time.Second
	ask       = 2 * time.Second // for what one look takes
	askMake   = 5 * time.Second // a cluster places the replicas first
	logEvery  = 10 * time.Second
)

// errNoMirror: somebody else made the stream.
var errNoMirror = errors.New("stream TICKS is here, but is no mirror: an ingest stamps in this region; delete the stream, or leave --home out")

// Options say of what.
type Options struct {
	JS       jetstream.JetStream // the region's own
	Away     jetstream.JetStream // the home region's
	Home     string              // its domain
	Replicas int
	Log      *slog.Logger
}

// Keep makes the mirror when it is missing, and keeps as many ticks of each symbol as home does, until ctx ends.
func Keep(ctx context.Context, o Options) {
	faults := quiet.New(o.Log, logEvery)
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		if err := look(ctx, o); err != nil && ctx.Err() == nil {
			faults.Warn("mirror", "TICKS is not mirrored, trying again", "home", o.Home, "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// look makes the mirror, or has it keep as much as home. While home is away, one that is there is good.
func look(ctx context.Context, o Options) error {
	history, awayErr := homeHistory(ctx, o)
	ask, cancel := context.WithTimeout(ctx, askMake)
	defer cancel()
	stream, err := o.JS.Stream(ask, subject.StreamTicks)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if awayErr != nil {
			return awayErr
		}
		_, err = o.JS.CreateStream(ask, jetstream.StreamConfig{
			Name:              subject.StreamTicks,
			Description:       "Tickfan: mirror of the home region's ticks",
			Storage:           jetstream.FileStorage,
			Replicas:          o.Replicas,
			MaxMsgsPerSubject: history,
			MirrorDirect:      true,
			AllowDirect:       true,
			Mirror:            &jetstream.StreamSource{Name: subject.StreamTicks, Domain: o.Home},
		})
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another registry was first
			return nil
		}
		if err != nil {
			return fmt.Errorf("make: %w", err)
		}
		o.Log.Info("mirror of TICKS made", "home", o.Home, "history", history, "replicas", o.Replicas)
		return nil
	}
	if err != nil {
		return fmt.Errorf("find: %w", err)
	}
	config := stream.CachedInfo().Config
	if config.Mirror == nil {
		return errNoMirror
	}
	if awayErr != nil || config.MaxMsgsPerSubject == history {
		return nil
	}
	config.MaxMsgsPerSubject = history
	if _, err := o.JS.UpdateStream(ask, config); err != nil {
		return fmt.Errorf("update: %w", err)
	}
	return nil
}

// homeHistory is how many ticks of each symbol home keeps.
func homeHistory(ctx context.Context, o Options) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	stream, err := o.Away.Stream(ctx, subject.StreamTicks)
	if err != nil {
		return 0, fmt.Errorf("ask home: %w", err)
	}
	return stream.CachedInfo().Config.MaxMsgsPerSubject, nil
}
