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
	ask       = 2 * time.Second // for one answer
	askMake   = 5 * time.Second // a cluster places the replicas first
	logEvery  = 10 * time.Second
)

// madeOf is the mirror's metadata: when the stream that it is of was made.
const madeOf = "tickfan_home_created"

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

// Keep makes the mirror when it is missing, and again when home's stream is no more the one that it is of; it keeps as many
// ticks of each symbol as home does. It ends with ctx. Several registries may do the same at the same time: what the mirror
// was made of stands in its metadata.
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
	here, err := find(ctx, o.JS)
	missing := errors.Is(err, jetstream.ErrStreamNotFound)
	if err != nil && !missing {
		return fmt.Errorf("find: %w", err)
	}
	if !missing && here.CachedInfo().Config.Mirror == nil {
		return errNoMirror
	}
	home, err := find(ctx, o.Away) // after the mirror, which then cannot be ahead of it
	if err != nil {
		if !missing {
			return nil
		}
		return fmt.Errorf("ask home: %w", err)
	}
	if missing {
		return create(ctx, o, home)
	}
	other, err := isOther(ctx, here.CachedInfo(), home)
	if err != nil {
		return fmt.Errorf("compare with home: %w", err)
	}
	if other {
		o.Log.Warn("home's TICKS is not the one that the mirror is of; the mirror is made again", "home", o.Home)
		return again(ctx, o, home)
	}
	return update(ctx, o, here.CachedInfo().Config, home)
}

func find(ctx context.Context, js jetstream.JetStream) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	return js.Stream(ctx, subject.StreamTicks)
}

// isOther tells whether home's stream is another one than the mirror is of: it was lost and made again, or put back to an
// older state. nats-server would go on asking it for what comes after the mirror's last message, and leave out all before.
func isOther(ctx context.Context, mirror *jetstream.StreamInfo, home jetstream.Stream) (bool, error) {
	info, last := home.CachedInfo(), mirror.State.LastSeq
	if mirror.Config.Metadata[madeOf] != made(info) || info.State.LastSeq < last {
		return true, nil
	}
	if last == 0 {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	m, err := home.GetMsg(ctx, last)
	if errors.Is(err, jetstream.ErrMsgNotFound) { // newer ticks of its symbol pushed it out
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return !m.Time.Equal(mirror.State.LastTime), nil
}

// made is when a stream was, by the clock of whoever made it. It is compared for being the same, so that no clocks are.
func made(info *jetstream.StreamInfo) string { return info.Created.UTC().Format(time.RFC3339Nano) }

// again makes the mirror anew. What it holds cannot be kept: a mirror's messages have the numbers that they have at home.
func again(ctx context.Context, o Options, home jetstream.Stream) error {
	wait, cancel := context.WithTimeout(ctx, askMake)
	defer cancel()
	err := o.JS.DeleteStream(wait, subject.StreamTicks)
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) { // another registry was first
		return fmt.Errorf("delete: %w", err)
	}
	return create(ctx, o, home)
}

func create(ctx context.Context, o Options, home jetstream.Stream) error {
	ctx, cancel := context.WithTimeout(ctx, askMake)
	defer cancel()
	history := home.CachedInfo().Config.MaxMsgsPerSubject
	_, err := o.JS.CreateStream(ctx, jetstream.StreamConfig{
		Name:              subject.StreamTicks,
		Description:       "Tickfan: mirror of the home region's ticks",
		Metadata:          map[string]string{madeOf: made(home.CachedInfo())},
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

// update has the mirror keep as many ticks of each symbol as home does.
func update(ctx context.Context, o Options, config jetstream.StreamConfig, home jetstream.Stream) error {
	history := home.CachedInfo().Config.MaxMsgsPerSubject
	if config.MaxMsgsPerSubject == history {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askMake)
	defer cancel()
	config.MaxMsgsPerSubject = history
	if _, err := o.JS.UpdateStream(ctx, config); err != nil {
		return fmt.Errorf("update: %w", err)
	}
	return nil
}
