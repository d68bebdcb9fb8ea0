package store

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

// MaxEpoch bounds the epochs that are believed. Clients in JavaScript count exactly to 2^53; the room above keeps
// "one more" from ever leaving that, whatever somebody published on ticks.> or beat.
const MaxEpoch = 1 << 52

// Last is the last tick of a symbol in TICKS.
type Last struct {
	tick.Position
	Price tick.Decimal
}

// Lasts is what TICKS knew at one moment.
type Lasts struct {
	Symbols map[subject.Symbol]Last
	Epoch   uint64 // the highest, 0 when TICKS is empty
	Bad     int    // messages that are no ticks; somebody else published them
}

// ReadLasts reads the last tick of each symbol. It uses an ordered consumer, for a get of the last by subject refuses
// more than 1,024 of them.
func ReadLasts(ctx context.Context, js jetstream.JetStream) (Lasts, error) {
	all := Lasts{Symbols: map[subject.Symbol]Last{}}
	if err := all.read(ctx, js); err != nil {
		return Lasts{}, fmt.Errorf("read last ticks from %s: %w", subject.StreamTicks, err)
	}
	return all, nil
}

func (l *Lasts) read(ctx context.Context, js jetstream.JetStream) error {
	stream, err := js.Stream(ctx, subject.StreamTicks)
	if err != nil {
		return err
	}
	// All that counts is stored by now; an old leader that goes on publishing must not keep us reading.
	end := stream.CachedInfo().State.LastSeq
	cons, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		DeliverPolicy:     jetstream.DeliverLastPerSubjectPolicy,
		FilterSubjects:    []string{subject.TicksAll},
		InactiveThreshold: 30 * time.Second,
	})
	if err != nil {
		return err
	}
	name := cons.CachedInfo().Name
	defer func() {
		// It would go by itself after a while; a restart in a loop should not pile them up.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = js.DeleteConsumer(ctx, subject.StreamTicks, name)
	}()
	if cons.CachedInfo().NumPending == 0 {
		return nil
	}
	messages, err := cons.Messages()
	if err != nil {
		return err
	}
	defer messages.Stop()
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return err
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		l.add(m.Subject(), m.Data())
		if meta.NumPending == 0 || meta.Sequence.Stream >= end {
			return nil
		}
	}
}

func (l *Lasts) add(subj string, payload []byte) {
	t, err := tick.Decode(payload)
	if err != nil || t.Epoch >= MaxEpoch || subject.Ticks(t.Symbol) != subj {
		l.Bad++
		return
	}
	l.Symbols[t.Symbol] = Last{Position: t.Position, Price: t.Price}
	l.Epoch = max(l.Epoch, t.Epoch)
}
