package tick

import (
	"fmt"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/wire"
)

// MaxRange is how many ticks one question may ask for.
const MaxRange = 1000

// maxInt is the largest integer of the client protocol.
const maxInt = 1<<53 - 1

// Range is a run of a symbol's ticks within an epoch, From and To included.
type Range struct {
	Symbol          subject.Symbol
	Epoch, From, To uint64
}

// Len is the number of ticks that r names.
func (r Range) Len() uint64 { return r.To - r.From + 1 }

// Holds tells whether r names the tick at p.
func (r Range) Holds(p Position) bool { return p.Epoch == r.Epoch && p.Seq >= r.From && p.Seq <= r.To }

// Check tells whether r can be asked for. The error is a *code.Error: bad_range.
func (r Range) Check() error {
	switch {
	case r.Epoch < 1 || r.Epoch > maxInt:
		return code.Errorf(code.BadRange, "epoch %d: 1 to 2^53-1", r.Epoch)
	case r.From < 1 || r.To > maxInt:
		return code.Errorf(code.BadRange, "from %d to %d: 1 to 2^53-1", r.From, r.To)
	case r.To < r.From:
		return code.Errorf(code.BadRange, "from %d to %d: to must not be before from", r.From, r.To)
	case r.Len() > MaxRange:
		return code.Errorf(code.BadRange, "from %d to %d: at most %d ticks at a time", r.From, r.To, MaxRange)
	}
	return nil
}

// rangeElements is how many elements a range adds to a request.
const rangeElements = 4

func (r Range) appendRequest(dst []byte) []byte {
	dst = wire.AppendArray(dst, 2+rangeElements)
	dst = wire.AppendUint(dst, uint64(wire.KindNewestRequest))
	dst = wire.AppendArray(dst, 0)
	dst = wire.AppendStr(dst, r.Symbol)
	dst = wire.AppendUint(dst, r.Epoch)
	dst = wire.AppendUint(dst, r.From)
	return wire.AppendUint(dst, r.To)
}

func readRange(r *wire.Reader) Range {
	s := r.Str()
	m := Range{Symbol: subject.Symbol(s), Epoch: r.Uint(), From: r.Uint(), To: r.Uint()}
	if r.Err() == nil && !subject.ValidSymbol(s) {
		r.Fail(fmt.Errorf("symbol %.40q", s))
	}
	if r.Err() == nil {
		if err := m.Check(); err != nil {
			r.Fail(err)
		}
	}
	return m
}

// Lack is why an answer does not hold all of a range.
type Lack uint8

// Lacks. A number that is not among them is one of a later version: what lacks will not come.
const (
	Nothing Lack = 0 // all of it is there
	Gone    Lack = 1 // what lacks is not in the history, or not any more: it will not come
	Ahead   Lack = 2 // what lacks comes after the newest tick that is stored
	Refused Lack = 3 // not read, or not to its end: there was too much to do, or no way to the history; ask again for the rest
)

func readLack(r *wire.Reader) Lack {
	n := r.Uint()
	if r.Err() == nil && n > 255 {
		r.Fail(fmt.Errorf("lack %d", n))
	}
	return Lack(n)
}
