package tick

import (
	"fmt"

	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/wire"
)

// NewestRequest asks a region's routers for newest ticks, or for one range of a symbol's ticks. Symbols nil means all
// that have a price. Who asks for a range asks for no newest: a router that does not know ranges answers with nothing.
//
//	[6, nil or [symbol, …]]
//	[6, [], symbol, epoch, from, to]
type NewestRequest struct {
	Symbols []subject.Symbol // nil also where Range is given
	Range   Range            // asked for if it has a Symbol
}

// Append appends m's MessagePack form to dst.
func (m *NewestRequest) Append(dst []byte) []byte {
	if m.Range.Symbol != "" {
		return m.Range.appendRequest(dst)
	}
	dst = wire.AppendArray(dst, 2)
	dst = wire.AppendUint(dst, uint64(wire.KindNewestRequest))
	if m.Symbols == nil {
		return wire.AppendNil(dst)
	}
	dst = wire.AppendArray(dst, len(m.Symbols))
	for _, s := range m.Symbols {
		dst = wire.AppendStr(dst, s)
	}
	return dst
}

// DecodeNewestRequest reads what NewestRequest.Append wrote.
func DecodeNewestRequest(p []byte) (m NewestRequest, err error) {
	r := wire.NewReader(p)
	extra := r.Kind(wire.KindNewestRequest, 2)
	if !r.Nil() {
		m.Symbols = readSymbols(&r)
	}
	if extra >= rangeElements && m.Symbols != nil && len(m.Symbols) == 0 {
		m.Symbols, m.Range = nil, readRange(&r)
		extra -= rangeElements
	}
	r.End(extra)
	if err := r.Err(); err != nil {
		return NewestRequest{}, fmt.Errorf("decode newest request: %w", err)
	}
	return m, nil
}

// NewestAnswer is one message of an answer; an answer of more than MaxPayload comes as several, in order.
//
//	[7, last, [tick, …], [symbol without a price, …]]
//	[7, last, [tick, …], [], lack]                     to a range, where something of it lacks
type NewestAnswer struct {
	Last    bool     // nothing follows
	Ticks   [][]byte // whole tick payloads, pointing into the message that was decoded; of a range in order of their seq
	Missing []subject.Symbol
	Lack    Lack // with Last, of a range: why there are not more
}

// Append appends m's MessagePack form to dst.
func (m *NewestAnswer) Append(dst []byte) []byte {
	n := 4
	if m.Lack != Nothing {
		n++
	}
	dst = wire.AppendArray(dst, n)
	dst = wire.AppendUint(dst, uint64(wire.KindNewestAnswer))
	dst = wire.AppendBool(dst, m.Last)
	dst = wire.AppendArray(dst, len(m.Ticks))
	for _, t := range m.Ticks {
		dst = append(dst, t...)
	}
	dst = wire.AppendArray(dst, len(m.Missing))
	for _, s := range m.Missing {
		dst = wire.AppendStr(dst, s)
	}
	if m.Lack != Nothing {
		dst = wire.AppendUint(dst, uint64(m.Lack))
	}
	return dst
}

// DecodeNewestAnswer reads what NewestAnswer.Append wrote. Its ticks point into p.
func DecodeNewestAnswer(p []byte) (m NewestAnswer, err error) {
	r := wire.NewReader(p)
	extra := r.Kind(wire.KindNewestAnswer, 4)
	m.Last = r.Bool()
	m.Ticks = readItems(&r, nil)
	m.Missing = readSymbols(&r)
	if extra > 0 {
		m.Lack = readLack(&r)
		extra--
	}
	r.End(extra)
	if err := r.Err(); err != nil {
		return NewestAnswer{}, fmt.Errorf("decode newest answer: %w", err)
	}
	return m, nil
}

// readSymbols reads an array of symbols; an empty one is not nil.
func readSymbols(r *wire.Reader) []subject.Symbol {
	n := r.Array()
	out := make([]subject.Symbol, 0, min(n, r.Left()/2)) // a symbol has two bytes or more
	for range n {
		s := r.Str()
		if r.Err() == nil && !subject.ValidSymbol(s) {
			r.Fail(fmt.Errorf("symbol %.40q", s))
		}
		if r.Err() != nil {
			break
		}
		out = append(out, subject.Symbol(s))
	}
	return out
}
