package newest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/proto/subject"
)

const (
	fetchSize = 1000            // messages asked for at once
	fetchWait = 5 * time.Second // without any, while there should be some, the read has failed

	// askTime is for one question: one that a server's death has swallowed must not cost the time of the whole read.
	askTime = 3 * time.Second

	// forgotten is when the server itself removes a consumer that nobody could delete.
	forgotten = 30 * time.Second
)

// ErrNoStream says that TICKS is not there yet. Ingest makes it.
var ErrNoStream = errors.New("waiting for stream TICKS (made by ingest)")

// Tick is a stored message.
type Tick struct {
	Subject string
	Payload []byte
}

// Read gives the last message of every subject of TICKS, in the stream's order. A tick that is stored while it reads
// may be there or not, and so may the one that it pushes out: who needs it has subscribed to ticks.> before. Read
// leaves no consumer behind. An error wraps ErrNoStream when there is no stream.
//
// A direct get of many subjects' last messages would be simpler, but the server refuses one of more than 1,024
// subjects. An ordered consumer would go on from where it was after a fault, with every message from there on instead
// of the last ones; this read starts again, and the fault is the caller's to see.
func Read(ctx context.Context, js jetstream.JetStream) ([]Tick, error) {
	ask, cancelAsk := context.WithTimeout(ctx, askTime)
	defer cancelAsk()
	consumer, err := js.CreateConsumer(ask, subject.StreamTicks, jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverLastPerSubjectPolicy,
		FilterSubject:     subject.TicksAll,
		AckPolicy:         jetstream.AckNonePolicy,
		InactiveThreshold: forgotten,
		MemoryStorage:     true,
		Replicas:          1,
	})
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("read newest ticks: %w", ErrNoStream)
	}
	if err != nil {
		return nil, fmt.Errorf("read newest ticks: make consumer: %w", err)
	}
	ticks, err := read(ctx, consumer)
	// Even when ctx has ended; a failure costs the server a consumer for some seconds.
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = js.DeleteConsumer(end, subject.StreamTicks, consumer.CachedInfo().Name)
	if err != nil {
		return nil, fmt.Errorf("read newest ticks: %w", err)
	}
	return ticks, nil
}

// read takes as many messages as were pending when the consumer was made: the last ones, and for each of them that a
// newer tick pushed out of the stream meanwhile another in its place.
func read(ctx context.Context, consumer jetstream.Consumer) ([]Tick, error) {
	want := consumer.CachedInfo().NumPending
	ticks := make([]Tick, 0, want)
	for had := uint64(0); had < want; had = uint64(len(ticks)) {
		more, pending, err := fetch(ctx, consumer, int(min(want-had, fetchSize)), had)
		if err != nil {
			return nil, err
		}
		ticks = append(ticks, more...)
		if pending == 0 {
			break // the others were pushed out or purged
		}
	}
	return ticks, nil
}

// fetch takes n messages after the first `had`, fewer where no more come, and tells how many are pending behind them.
func fetch(ctx context.Context, consumer jetstream.Consumer, n int, had uint64) (ticks []Tick, pending uint64, err error) {
	wait, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	// No heartbeat: a server that is busy storing ticks was seen to miss them, and then every read would fail.
	msgs, err := consumer.Fetch(n, jetstream.FetchContext(wait))
	if err != nil {
		return nil, 0, fmt.Errorf("fetch: %w", err)
	}
	for m := range msgs.Messages() {
		meta, err := m.Metadata()
		if err != nil {
			return nil, 0, fmt.Errorf("read metadata of %s: %w", m.Subject(), err)
		}
		had++
		if meta.Sequence.Consumer != had {
			return nil, 0, fmt.Errorf("message %d came where %d was due: one was lost", meta.Sequence.Consumer, had)
		}
		ticks = append(ticks, Tick{m.Subject(), m.Data()})
		if pending = meta.NumPending; pending == 0 {
			return ticks, 0, nil
		}
	}
	if len(ticks) > 0 {
		return ticks, pending, nil
	}
	if ctx.Err() != nil {
		return nil, 0, context.Cause(ctx)
	}
	if err := msgs.Error(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return nil, 0, fmt.Errorf("fetch: %w", err)
	}
	ctx, cancelAsk := context.WithTimeout(ctx, askTime)
	defer cancelAsk()
	info, err := consumer.Info(ctx)
	if err != nil {
		return nil, 0, fmt.Errorf("ask for what is left: %w", err)
	}
	if info.NumPending > 0 {
		return nil, 0, fmt.Errorf("nothing came for %s while %d messages are left", fetchWait, info.NumPending)
	}
	return nil, 0, nil
}
