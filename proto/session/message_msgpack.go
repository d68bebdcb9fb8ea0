package session

import (
	"fmt"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
	"github.com/tickfan/tickfan/proto/wire"
)

// messageFields are the names of a Message's fields in the order of fields.
var messageFields = [...]string{"op", "id", "symbols", "no_price", "numbers", "symbol", "epoch", "seq", "from", "to", "url",
	"price", "bid", "ask", "size", "bid_size", "ask_size", "open", "high", "low", "volume",
	"ts", "code", "message", "age_ms", "after_ms", "reason"}

// fields gives a pointer to each field: one list for both directions, and no reflection, because a program that takes
// many ticks decodes each of them here.
func (m *Message) fields() [len(messageFields)]any {
	return [...]any{&m.Op, &m.ID, &m.Symbols, &m.NoPrice, &m.Numbers, &m.Symbol, &m.Epoch, &m.Seq, &m.From, &m.To, &m.URL,
		&m.Price, &m.Bid, &m.Ask, &m.Size, &m.BidSize, &m.AskSize, &m.Open, &m.High, &m.Low, &m.Volume,
		&m.TS, &m.Code, &m.Message, &m.AgeMS, &m.AfterMS, &m.Reason}
}

func (m *Message) appendMsgpack(dst []byte) []byte {
	fields := m.fields()
	n := 0
	for _, p := range fields {
		if given(p) {
			n++
		}
	}
	dst = wire.AppendMap(dst, n)
	for i, p := range fields {
		if given(p) {
			dst = appendField(wire.AppendStr(dst, messageFields[i]), p)
		}
	}
	return dst
}

func given(field any) bool {
	switch p := field.(type) {
	case *string:
		return *p != ""
	case **int64:
		return *p != nil
	case *[]subject.Symbol:
		return len(*p) > 0
	case *[]uint32:
		return len(*p) > 0
	case *subject.Symbol:
		return *p != ""
	case *uint64:
		return *p != 0
	case *int64:
		return *p != 0
	case *tick.Decimal:
		return p.Given()
	case *code.Code:
		return *p != ""
	}
	return false
}

func appendField(dst []byte, field any) []byte {
	switch p := field.(type) {
	case *string:
		return wire.AppendStr(dst, *p)
	case **int64:
		return wire.AppendInt(dst, **p)
	case *[]subject.Symbol:
		return appendSymbols(dst, *p)
	case *[]uint32:
		dst = wire.AppendArray(dst, len(*p))
		for _, n := range *p {
			dst = wire.AppendUint(dst, uint64(n))
		}
		return dst
	case *subject.Symbol:
		return wire.AppendStr(dst, *p)
	case *uint64:
		return wire.AppendUint(dst, *p)
	case *int64:
		return wire.AppendInt(dst, *p)
	case *tick.Decimal:
		return p.AppendMsgpack(dst)
	case *code.Code:
		return wire.AppendStr(dst, *p)
	}
	return dst
}

func (m *Message) readMsgpack(p []byte) error {
	fields := m.fields()
	r := wire.NewReader(p)
	next := 0
	for range r.Map() {
		name := r.Str()
		if r.Err() != nil {
			break
		}
		i := fieldIndex(name, next)
		if i < 0 {
			r.Skip()
			continue
		}
		readField(&r, fields[i])
		if err := r.Err(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		next = i + 1
	}
	r.End(0)
	return r.Err()
}

// fieldIndex looks from next on, since an edge writes its fields in order, and then before it.
func fieldIndex(name []byte, next int) int {
	for i := range messageFields {
		if i = (i + next) % len(messageFields); messageFields[i] == string(name) {
			return i
		}
	}
	return -1
}

func readField(r *wire.Reader, field any) {
	if r.Nil() {
		return
	}
	switch p := field.(type) {
	case *string:
		*p = string(r.Str())
	case **int64:
		id := r.Int()
		*p = &id
	case *[]subject.Symbol:
		*p = readSymbols(r)
	case *[]uint32:
		*p = readNumbers(r)
	case *subject.Symbol:
		*p = subject.Symbol(r.Str())
	case *uint64:
		*p = r.Uint()
	case *int64:
		*p = r.Int()
	case *tick.Decimal:
		if err := p.UnmarshalText(r.Str()); err != nil {
			r.Fail(err)
		}
	case *code.Code:
		*p = code.Code(r.Str())
	}
}

func readSymbols(r *wire.Reader) []subject.Symbol {
	n := r.Array()
	list := make([]subject.Symbol, 0, n)
	for range n {
		list = append(list, subject.Symbol(r.Str()))
		if r.Err() != nil {
			break
		}
	}
	return list
}

func readNumbers(r *wire.Reader) []uint32 {
	n := r.Array()
	list := make([]uint32, 0, n)
	for range n {
		v := r.Uint()
		if v > MaxNumber {
			r.Fail(fmt.Errorf("number %d: at most %d", v, uint64(MaxNumber)))
		}
		if r.Err() != nil {
			break
		}
		list = append(list, uint32(v))
	}
	return list
}
