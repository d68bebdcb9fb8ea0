package tick

import (
	"fmt"

	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/wire"
)

// MaxPayload is the size in bytes above which batches and answers are split. NATS takes 1 MB by default; a quarter of
// it keeps a large snapshot from standing in the way of the next tick.
const MaxPayload = 256 << 10

// NoBeat is the BeatAge of a router that never heard ingest.
const NoBeat = -1

// Batch is what a router sends to a bucket. Its items are payloads that carry their kind (see wire.Kind): an edge
// takes the kinds it knows and skips the others, so that later kinds need no second path.
//
//	[3, router, number, beat age, [16 interest numbers], [item, item, …]]
type Batch struct {
	Router   string                // the router's instance and which of its series of batches this is, e.g. router-x7k2p9.3; new each time it begins to serve the bucket
	Number   uint64                // counts up from 1 in the series; another step than 1 means lost batches
	BeatAge  int64                 // age of ingest's last beat at the router, milliseconds; NoBeat when there was none
	Interest [subject.Parts]uint64 // per part the highest interest number that the router has applied
	Items    [][]byte              // whole payloads, pointing into the message that was decoded
}

// Append appends b's MessagePack form to dst.
func (b *Batch) Append(dst []byte) []byte {
	dst = wire.AppendArray(dst, 6)
	dst = wire.AppendUint(dst, uint64(wire.KindBatch))
	dst = wire.AppendStr(dst, b.Router)
	dst = wire.AppendUint(dst, b.Number)
	dst = wire.AppendInt(dst, b.BeatAge)
	dst = wire.AppendArray(dst, subject.Parts)
	for _, n := range b.Interest {
		dst = wire.AppendUint(dst, n)
	}
	dst = wire.AppendArray(dst, len(b.Items))
	for _, it := range b.Items {
		dst = append(dst, it...)
	}
	return dst
}

// Decode reads p into b and reuses b.Items' memory. The items point into p. After an error b holds nothing of use.
func (b *Batch) Decode(p []byte) error {
	r := wire.NewReader(p)
	extra := r.Kind(wire.KindBatch, 6)
	if s := r.Str(); string(s) != b.Router { // the same router nearly always: no allocation
		b.Router = string(s)
	}
	b.Number = r.Uint()
	b.BeatAge = r.Int()
	if n := r.Array(); r.Err() == nil && n != len(b.Interest) {
		r.Fail(fmt.Errorf("%d interest numbers, want %d", n, len(b.Interest)))
	}
	for i := range b.Interest {
		b.Interest[i] = r.Uint()
	}
	b.Items = readItems(&r, b.Items[:0])
	r.End(extra)
	if err := r.Err(); err != nil {
		b.Items = b.Items[:0]
		return fmt.Errorf("decode batch: %w", err)
	}
	return nil
}

// BeatMsg is the active ingest's sign of life.
//
//	[2, epoch, count, time]
type BeatMsg struct {
	Epoch uint64 // the epoch it stamps in
	Count uint64 // ticks stamped in the epoch so far, those marked again left out
	Time  int64  // microseconds since 1970 UTC, ingest's clock
}

// Append appends m's MessagePack form to dst.
func (m *BeatMsg) Append(dst []byte) []byte {
	dst = wire.AppendArray(dst, 4)
	dst = wire.AppendUint(dst, uint64(wire.KindBeat))
	dst = wire.AppendUint(dst, m.Epoch)
	dst = wire.AppendUint(dst, m.Count)
	return wire.AppendInt(dst, m.Time)
}

// DecodeBeat reads what BeatMsg.Append wrote.
func DecodeBeat(p []byte) (m BeatMsg, err error) {
	r := wire.NewReader(p)
	extra := r.Kind(wire.KindBeat, 4)
	m = BeatMsg{Epoch: r.Uint(), Count: r.Uint(), Time: r.Int()}
	r.End(extra)
	if err := r.Err(); err != nil {
		return BeatMsg{}, fmt.Errorf("decode beat: %w", err)
	}
	return m, nil
}

// readItems appends an array's elements to items, each as the bytes of the payload.
func readItems(r *wire.Reader, items [][]byte) [][]byte {
	for range r.Array() {
		it := r.Raw()
		if r.Err() != nil {
			break
		}
		items = append(items, it)
	}
	return items
}
