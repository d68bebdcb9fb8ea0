package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/libs/quiet"
)

const (
	// markerTTL is how long the trace of a removed key stays, for watches that were cut off meanwhile.
	markerTTL = 5 * time.Minute

	ask       = 2 * time.Second // for one answer of JetStream
	askMake   = 5 * time.Second // a cluster places the replicas first
	makeAgain = time.Second
	lookEvery = 5 // of makeAgain
	logEvery  = 10 * time.Second
)

// ErrConflict says that a key was changed since the revision that a write named: read it again, decide again.
var ErrConflict = errors.New("key has another revision")

// Op is what is done to a store; the attribute of a metric.
type Op string

const (
	Get   Op = "get"
	Write Op = "write"
	Purge Op = "purge"
)

// Options say which store.
type Options struct {
	JS          jetstream.JetStream
	Name        string
	Description string
	Replicas    int
	Log         *slog.Logger
	Health      *Health

	// Observe is called after each operation. err is nil for a conflict, which is an answer like others.
	Observe func(store string, op Op, took time.Duration, err error)
}

// Store is one KV store. Its methods may be called from any goroutine.
type Store struct {
	o       Options
	faults  *quiet.Log
	stream  jetstream.Stream
	missing atomic.Bool // an operation found no stream
}

// Open makes the store when it is missing. It tries until ctx ends; the error then is ctx's cause.
func Open(ctx context.Context, o Options) (*Store, error) {
	o.Log = o.Log.With("store", o.Name)
	s := &Store{o: o, faults: quiet.New(o.Log, logEvery)}
	for {
		err := s.make(ctx)
		if err == nil {
			return s, nil
		}
		if ctx.Err() == nil {
			s.faults.Warn("make", "KV store not made, trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("make KV store %s: %w", o.Name, context.Cause(ctx))
		case <-time.After(makeAgain):
		}
	}
}

// Keep makes the store again when it was deleted or lost, until ctx ends: soon after an operation missed it, and else,
// since a store that nobody writes is not missed, every few seconds.
func (s *Store) Keep(ctx context.Context) {
	ticker := time.NewTicker(makeAgain)
	defer ticker.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if n%lookEvery != 0 && !s.missing.Load() {
			continue
		}
		s.missing.Store(false)
		if err := s.make(ctx); err != nil {
			s.missing.Store(true)
			if ctx.Err() == nil {
				s.faults.Warn("keep", "KV store not found or made, trying again", "error", err)
			}
		}
	}
}

// make finds the store, or makes it.
func (s *Store) make(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askMake)
	defer cancel()
	stream, err := s.o.JS.Stream(ctx, "KV_"+s.o.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if err := s.create(ctx); err != nil {
			return err
		}
		stream, err = s.o.JS.Stream(ctx, "KV_"+s.o.Name)
	}
	if err != nil {
		return fmt.Errorf("find: %w", err)
	}
	config := stream.CachedInfo().Config
	if !config.AllowMsgTTL || config.SubjectDeleteMarkerTTL == 0 {
		return fmt.Errorf("stream KV_%s takes no time to live per key: it was not made by a registry; delete it", s.o.Name)
	}
	if s.stream != nil {
		return nil // it is by name, and serves a stream that was made again, too
	}
	s.stream = stream
	if config.Replicas != s.o.Replicas {
		s.o.Log.Warn("KV store has another number of replicas than asked for; it stays as it is",
			"has", config.Replicas, "asked", s.o.Replicas)
	}
	return nil
}

func (s *Store) create(ctx context.Context) error {
	_, err := s.o.JS.CreateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket:         s.o.Name,
		Description:    s.o.Description,
		History:        1,
		Storage:        jetstream.FileStorage,
		Replicas:       s.o.Replicas,
		LimitMarkerTTL: markerTTL,
	})
	if errors.Is(err, jetstream.ErrBucketExists) { // another registry was first
		return nil
	}
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	s.o.Log.Info("KV store made", "replicas", s.o.Replicas)
	return nil
}

// Entry is a key as the store has it.
type Entry struct {
	Value    []byte
	Revision uint64 // also of the marker of a removed key; 0 where there is no trace
	Exists   bool
}

// Get asks the store itself, not a view.
func (s *Store) Get(ctx context.Context, key string) (e Entry, err error) {
	defer s.observe(Get, time.Now(), &err)
	ctx, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	m, err := s.stream.GetLastMsgForSubject(ctx, s.subject(key))
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return Entry{}, nil
	case err != nil:
		return Entry{}, fmt.Errorf("get %s of KV store %s: %w", key, s.o.Name, err)
	}
	gone := m.Header.Get("KV-Operation") != "" || m.Header.Get(jetstream.MarkerReasonHeader) != ""
	return Entry{Value: m.Data, Revision: m.Sequence, Exists: !gone}, nil
}

// Write writes a key whose last revision, be it a value's or a marker's, is the given one (0: none). With a ttl above
// 0 the value lasts that long. The error is ErrConflict when the key has another revision.
func (s *Store) Write(ctx context.Context, key string, value []byte, revision uint64, ttl time.Duration) (err error) {
	defer s.observe(Write, time.Now(), &err)
	m := nats.NewMsg(s.subject(key))
	m.Data = value
	if err := s.publish(ctx, m, revision, ttl); err != nil {
		return fmt.Errorf("write %s of KV store %s: %w", key, s.o.Name, err)
	}
	return nil
}

// Purge removes a key whose last revision is the given one, and leaves a marker for those who watch. It may be a
// marker that it replaces. The error is ErrConflict when the key has another revision.
func (s *Store) Purge(ctx context.Context, key string, revision uint64) (err error) {
	defer s.observe(Purge, time.Now(), &err)
	m := nats.NewMsg(s.subject(key))
	m.Header.Set("KV-Operation", "PURGE")
	m.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
	if err := s.publish(ctx, m, revision, markerTTL); err != nil {
		return fmt.Errorf("purge %s of KV store %s: %w", key, s.o.Name, err)
	}
	return nil
}

func (s *Store) publish(ctx context.Context, m *nats.Msg, revision uint64, ttl time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	opts := []jetstream.PublishOpt{jetstream.WithExpectLastSequencePerSubject(revision)}
	if ttl > 0 {
		opts = append(opts, jetstream.WithMsgTTL(ttl))
	}
	_, err := s.o.JS.PublishMsg(ctx, m, opts...)
	if isConflict(err) {
		return ErrConflict
	}
	return err
}

func (s *Store) subject(key string) string { return "$KV." + s.o.Name + "." + key }

func (s *Store) observe(op Op, began time.Time, errp *error) {
	err := *errp
	if errors.Is(err, ErrConflict) {
		err = nil
	}
	if err != nil {
		s.o.Health.Fail()
		if errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrStreamNotFound) {
			s.missing.Store(true)
		}
	}
	s.o.Observe(s.o.Name, op, time.Since(began), err)
}

// isConflict tells the refusal of a compare-and-set. A stream with replicas has a code of its own for it.
func isConflict(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}
