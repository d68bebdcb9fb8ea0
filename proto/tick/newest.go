package tick

import (
	"fmt"

	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/wire"
)

// NewestRequest asks a region's routers for newest ticks. Symbols nil means all that have a price.
//
//	[6, nil or [symbol, …]]
type NewestRequest struct {
	Symbols []subject.Symbol
}

// Append appends m's MessagePack form to dst.
func (m *NewestRequest) Append(dst []byte) []byte {
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
	r.End(extra)
	if err := r.Err(); err != nil {
		return NewestRequest{}, fmt.Errorf("decode newest request: %w", err)
	}
	return m, nil
}

// NewestAnswer is one message of an answer; an answer of more than MaxPayload comes as several, in order.
//
//	[7, last, [tick, …], [symbol without a price, …]]
type NewestAnswer struct {
	Last    bool     // nothing follows
	Ticks   [][]byte // whole tick payloads, pointing into the message that was decoded
	Missing []subject.Symbol
}

// Append appends m's MessagePack form to dst.
func (m *NewestAnswer) Append(dst []byte) []byte {
	dst = wire.AppendArray(dst, 4)
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
	return dst
}

// DecodeNewestAnswer reads what NewestAnswer.Append wrote. Its ticks point into p.
func DecodeNewestAnswer(p []byte) (m NewestAnswer, err error) {
	r := wire.NewReader(p)
	extra := r.Kind(wire.KindNewestAnswer, 4)
	m.Last = r.Bool()
	m.Ticks = readItems(&r, nil)
	m.Missing = readSymbols(&r)
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
