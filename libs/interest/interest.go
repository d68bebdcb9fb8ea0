package interest

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/metric"

	"github.com/tickfan/tickfan/libs/kvview"
	"github.com/tickfan/tickfan/libs/ops"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
)

// Key names one value of the store.
type Key struct {
	Bucket subject.Bucket
	Part   int
}

// Change is a part's new value, or its end.
type Change struct {
	Bucket            subject.Bucket
	Part              int
	control.PartValue      // not to be changed; zero when Gone
	Gone              bool // the key was deleted or purged, or its time was up
	Lost              bool // with Gone: nobody removed it, the store was lost or put back
}

// Options say what to watch.
type Options struct {
	JS    jetstream.JetStream // of the region
	Log   *slog.Logger        // never nil
	Meter metric.Meter        // nil counts nothing

	// OnChange is called with every change in order, from one goroutine, also for the first
	// snapshot; may be nil. The View shows the change by then. A part may be told again at
	// the number that it already had.
	OnChange func(Change)

	Confirm time.Duration // between two confirmations; 0 is 30 s

	// Condition is met while the View is known to show what the store holds; see kvview.Options. May be nil.
	Condition *ops.Condition
}

// View is the live view. Its methods may be called from any goroutine.
type View struct {
	view *kvview.View[Key, control.PartValue]
}

// Open waits until the store exists (the registry makes it) and returns when all of it has
// been read. The View lives as long as ctx; the caller closes it.
func Open(ctx context.Context, o Options) (*View, error) {
	var onChange func(kvview.Change[Key, control.PartValue])
	if o.OnChange != nil {
		onChange = func(c kvview.Change[Key, control.PartValue]) {
			o.OnChange(Change{Bucket: c.Key.Bucket, Part: c.Key.Part, PartValue: c.Value, Gone: c.Gone, Lost: c.Lost})
		}
	}
	view, err := kvview.Open(ctx, kvview.Options[Key, control.PartValue]{
		JS:       o.JS,
		Store:    subject.KVInterest,
		Key:      parseKey,
		Value:    func(k Key, value []byte) (control.PartValue, error) { return control.DecodePart(k.Part, value) },
		OnChange: onChange,
		Confirm:  o.Confirm,
		Log:      o.Log,
		Meter:    o.Meter,

		Condition: o.Condition,
	})
	if err != nil {
		return nil, err
	}
	return &View{view}, nil
}

func parseKey(key string) (Key, error) {
	bucket, part, ok := subject.ParseInterestKey(key)
	if !ok {
		return Key{}, fmt.Errorf("key %q: <bucket>.<part>", key)
	}
	return Key{bucket, part}, nil
}

// Part is one part of a bucket's interest, not to be changed.
func (v *View) Part(b subject.Bucket, part int) (control.PartValue, bool) {
	e, ok := v.view.Get(Key{b, part})
	return e.Value, ok
}

// All goes over a copy that was taken at one moment, in no order.
func (v *View) All() iter.Seq2[Key, control.PartValue] {
	return func(yield func(Key, control.PartValue) bool) {
		for k, e := range v.view.All() {
			if !yield(k, e.Value) {
				return
			}
		}
	}
}

// Reconnected asks for a confirmation now. Call it after each reconnection to NATS; it does
// not block.
func (v *View) Reconnected() { v.view.Reconnected() }

// Close ends the View and waits for its goroutine. What it showed last can still be read.
func (v *View) Close() { v.view.Close() }
