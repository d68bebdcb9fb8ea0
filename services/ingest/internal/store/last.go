package store

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/libs/newest"
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

// ReadLasts reads the last tick of each symbol.
func ReadLasts(ctx context.Context, js jetstream.JetStream) (Lasts, error) {
	stored, err := newest.Read(ctx, js)
	if err != nil {
		return Lasts{}, err
	}
	all := Lasts{Symbols: make(map[subject.Symbol]Last, len(stored))}
	for _, m := range stored {
		all.add(m.Subject, m.Payload)
	}
	return all, nil
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
