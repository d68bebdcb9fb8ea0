package session

import (
	"maps"
	"slices"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
	"github.com/tickfan/tickfan/proto/wire"
)

// Ops of a client.
const (
	OpSubscribe   = "subscribe"
	OpUnsubscribe = "unsubscribe"
	OpPing        = "ping"
)

// Limits of a connection.
const (
	MaxMessage  = 64 << 10 // bytes of one message from a client; above: close 1009
	MaxSymbols  = 1000     // subscribed at a time
	MaxUnpriced = 100      // subscribed at a time without a price
	MaxRate     = 100      // max_rate, writes a second
	MaxErrors   = 100      // refused messages, then close 4000
)

// Mode says which ticks a subscription gets.
type Mode uint8

const (
	Latest Mode = iota // the newest; those between may be left out
	Every              // each, in order, or a gap message that says which are missing
)

const (
	modeLatest = "latest"
	modeEvery  = "every"
)

// Request is a checked message of a client.
type Request struct {
	Op      string
	ID      *int64 // echoed in the answer
	Symbols []subject.Symbol
	Mode    Mode
	MaxRate int // writes a second, 0: as the edge is set
	After   map[subject.Symbol]tick.Position
}

// DecodeRequest reads and checks a client's message. The error is a *code.Error; the Request then holds the ID as far
// as it could be read, so that the answer can carry it. Unknown fields are ignored; a null is a field not given.
func DecodeRequest(f Format, p []byte) (Request, error) {
	var t text
	if err := t.read(f, p); err != nil {
		return Request{ID: t.id}, err
	}
	r := Request{ID: t.id}
	if t.op == nil {
		return r, code.Errorf(code.BadOp, "op is missing: subscribe, unsubscribe or ping")
	}
	switch r.Op = *t.op; r.Op {
	case OpPing:
		return r, nil
	case OpSubscribe, OpUnsubscribe:
	default:
		return r, code.Errorf(code.BadOp, "op %s: subscribe, unsubscribe or ping", code.Quote(r.Op))
	}
	named, err := r.symbols(t.symbols)
	if err != nil {
		return r, err
	}
	if r.Op == OpSubscribe {
		if err := r.options(&t, named); err != nil {
			return r, err
		}
	}
	return r, nil
}

// symbols checks the names and gives them as a set.
func (r *Request) symbols(names []string) (named map[string]struct{}, err error) {
	if len(names) == 0 {
		return nil, code.Errorf(code.BadMessage, "symbols is missing or empty: an array of 1 to %d symbols", MaxSymbols)
	}
	r.Symbols = make([]subject.Symbol, 0, min(len(names), MaxSymbols))
	named = make(map[string]struct{}, min(len(names), MaxSymbols))
	for _, n := range names {
		if _, twice := named[n]; twice {
			continue
		}
		s, err := subject.ParseSymbol(n)
		if err != nil {
			return nil, err
		}
		named[n] = struct{}{}
		r.Symbols = append(r.Symbols, s)
	}
	if len(r.Symbols) > MaxSymbols {
		return nil, code.Errorf(code.TooManySymbols, "%d symbols: at most %d a connection", len(r.Symbols), MaxSymbols)
	}
	return named, nil
}

func (r *Request) options(t *text, named map[string]struct{}) error {
	if t.mode != nil {
		switch *t.mode {
		case modeLatest:
		case modeEvery:
			r.Mode = Every
		default:
			return code.Errorf(code.BadMode, "mode %s: latest or every", code.Quote(*t.mode))
		}
	}
	if t.maxRate != nil {
		if r.Mode == Every {
			return code.Errorf(code.BadMode, "max_rate goes with mode latest: mode every sends each tick")
		}
		if *t.maxRate < 1 || *t.maxRate > MaxRate {
			return code.Errorf(code.BadRate, "max_rate %d: 1 to %d writes a second", *t.maxRate, MaxRate)
		}
		r.MaxRate = int(*t.maxRate)
	}
	if len(t.after) == 0 {
		return nil
	}
	if r.Mode != Every {
		return code.Errorf(code.BadAfter, "after goes with mode every")
	}
	r.After = make(map[subject.Symbol]tick.Position, len(t.after))
	for _, a := range t.after {
		s := subject.Symbol(a.symbol)
		if _, ok := named[a.symbol]; !ok {
			return code.Errorf(code.BadAfter, "after: %s is not among symbols", code.Quote(a.symbol))
		}
		if _, twice := r.After[s]; twice {
			return code.Errorf(code.BadAfter, "after: %s is given twice", s)
		}
		if len(a.position) != 2 || a.position[0] == 0 {
			return code.Errorf(code.BadAfter, "after: %s: [epoch, seq] of the last tick received", s)
		}
		r.After[s] = tick.Position{Epoch: a.position[0], Seq: a.position[1]}
	}
	return nil
}

// AppendRequest appends r as a client says it. Symbols in After are sorted, so that the same request has the same bytes.
func AppendRequest(f Format, dst []byte, r *Request) []byte {
	if f == JSON {
		return appendRequestJSON(dst, r)
	}
	return appendRequestMsgpack(dst, r)
}

// requestJSON is a Request as JSON has it.
type requestJSON struct {
	Op      string                       `json:"op"`
	ID      *int64                       `json:"id,omitempty"`
	Symbols []subject.Symbol             `json:"symbols,omitempty"`
	Mode    string                       `json:"mode,omitempty"`
	MaxRate int                          `json:"max_rate,omitempty"`
	After   map[subject.Symbol][2]uint64 `json:"after,omitempty"`
}

func appendRequestJSON(dst []byte, r *Request) []byte {
	t := requestJSON{Op: r.Op, ID: r.ID, Symbols: r.Symbols, MaxRate: r.MaxRate}
	if r.Mode == Every {
		t.Mode = modeEvery
	}
	if len(r.After) > 0 {
		t.After = make(map[subject.Symbol][2]uint64, len(r.After))
		for s, p := range r.After {
			t.After[s] = [2]uint64{p.Epoch, p.Seq}
		}
	}
	return appendJSON(dst, &t)
}

func appendRequestMsgpack(dst []byte, r *Request) []byte {
	n, at := 1, len(dst)
	dst = wire.AppendMap(dst, n) // the number is put right at the end: a request has fewer than 16 fields
	dst = wire.AppendStr(wire.AppendStr(dst, "op"), r.Op)
	if r.ID != nil {
		n++
		dst = wire.AppendInt(wire.AppendStr(dst, "id"), *r.ID)
	}
	if len(r.Symbols) > 0 {
		n++
		dst = appendSymbols(wire.AppendStr(dst, "symbols"), r.Symbols)
	}
	if r.Mode == Every {
		n++
		dst = wire.AppendStr(wire.AppendStr(dst, "mode"), modeEvery)
	}
	if r.MaxRate > 0 {
		n++
		dst = wire.AppendInt(wire.AppendStr(dst, "max_rate"), int64(r.MaxRate))
	}
	if len(r.After) > 0 {
		n++
		dst = wire.AppendMap(wire.AppendStr(dst, "after"), len(r.After))
		for _, s := range slices.Sorted(maps.Keys(r.After)) {
			dst = wire.AppendArray(wire.AppendStr(dst, s), 2)
			dst = wire.AppendUint(wire.AppendUint(dst, r.After[s].Epoch), r.After[s].Seq)
		}
	}
	wire.AppendMap(dst[:at], n)
	return dst
}

func appendSymbols(dst []byte, symbols []subject.Symbol) []byte {
	dst = wire.AppendArray(dst, len(symbols))
	for _, s := range symbols {
		dst = wire.AppendStr(dst, s)
	}
	return dst
}
