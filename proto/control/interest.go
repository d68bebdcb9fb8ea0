package control

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/wire"
)

// Flag says how a bucket wants a symbol.
type Flag string

const (
	Latest Flag = "latest" // the newest tick; those between may be left out
	Every  Flag = "every"  // each tick
)

// MaxPartSymbols is how many symbols one part of one bucket may name (code too_much_interest).
const MaxPartSymbols = 4096

// Set is the symbols of one part and how each is wanted. It is always whole: a change replaces it.
type Set map[subject.Symbol]Flag

// Validate checks symbols and flags and that each symbol belongs to the part. The error is a *code.Error.
func (s Set) Validate(part int) error {
	if len(s) > MaxPartSymbols {
		return code.Errorf(code.TooMuchInterest, "part %d names %d symbols: at most %d", part, len(s), MaxPartSymbols)
	}
	for sym, f := range s {
		if _, err := subject.ParseSymbol(string(sym)); err != nil {
			return err
		}
		if f != Latest && f != Every {
			return code.Errorf(code.BadMode, "symbol %s: flag %s: latest or every", sym, code.Quote(f))
		}
		if p := subject.Part(sym); p != part {
			return code.Errorf(code.BadMessage, "symbol %s is in part %d, its part is %d", sym, part, p)
		}
	}
	return nil
}

// Digest is a number that two equal sets share: the sum, modulo 2^32, of FNV-1a 32 of each symbol, a space and its flag.
func (s Set) Digest() (d uint32) {
	for sym, f := range s {
		h := uint32(2166136261)
		for _, part := range [...]string{string(sym), " ", string(f)} {
			for i := range len(part) {
				h = (h ^ uint32(part[i])) * 16777619
			}
		}
		d += h
	}
	return d
}

// PartValue is the value of INTEREST key <bucket>.<part>: the whole set and the edge's number of the change that
// made it. Who has a part with a number that is not lower ignores another.
type PartValue struct {
	Number  uint64 `json:"number"`
	Symbols Set    `json:"symbols"`
}

// InterestRequest is one change of one bucket's interest (registry endpoint "interest"). A request that is repeated,
// late or taken by another registry does no harm: a part is written unless the stored number is equal or higher.
type InterestRequest struct {
	Bucket subject.Bucket `json:"bucket"`
	Number uint64         `json:"number"` // of the change; counts up from 1 per bucket
	Parts  map[int]Set    `json:"parts"`  // the changed parts, each whole
}

// Validate checks the request. The error is a *code.Error.
func (r *InterestRequest) Validate() error {
	if _, err := subject.ParseBucket(string(r.Bucket)); err != nil {
		return err
	}
	if r.Number == 0 || len(r.Parts) == 0 {
		return code.Errorf(code.BadMessage, "number %d with %d parts: a number from 1 and at least one part", r.Number, len(r.Parts))
	}
	for part, set := range r.Parts {
		if part < 0 || part >= subject.Parts {
			return code.Errorf(code.BadMessage, "part %d: 0 to %d", part, subject.Parts-1)
		}
		if err := set.Validate(part); err != nil {
			return err
		}
	}
	return nil
}

// InterestAnswer says that the change stands in KV, or why not.
type InterestAnswer struct {
	Number uint64      `json:"number,omitempty"`
	Error  *code.Error `json:"error,omitempty"`
}

// Announcement is one changed part, sent by the registry on interest.<region> before it writes KV, so that routers
// learn of additions at once.
//
//	[4, bucket, part, number, {symbol: "latest" or "every", …}]
type Announcement struct {
	Bucket subject.Bucket
	Part   int
	PartValue
}

// Append appends a's MessagePack form to dst, symbols sorted.
func (a *Announcement) Append(dst []byte) []byte {
	dst = wire.AppendArray(dst, 5)
	dst = wire.AppendUint(dst, uint64(wire.KindInterest))
	dst = wire.AppendStr(dst, a.Bucket)
	dst = wire.AppendUint(dst, uint64(a.Part))
	dst = wire.AppendUint(dst, a.Number)
	dst = wire.AppendMap(dst, len(a.Symbols))
	for _, s := range slices.Sorted(maps.Keys(a.Symbols)) {
		dst = wire.AppendStr(dst, s)
		dst = wire.AppendStr(dst, a.Symbols[s])
	}
	return dst
}

// DecodeAnnouncement reads and checks what Append wrote.
func DecodeAnnouncement(p []byte) (a Announcement, err error) {
	r := wire.NewReader(p)
	extra := r.Kind(wire.KindInterest, 5)
	a.Bucket = subject.Bucket(r.Str())
	part := r.Uint()
	a.Number = r.Uint()
	n := r.Map()
	if n > MaxPartSymbols {
		r.Fail(fmt.Errorf("%d symbols, want %d or fewer", n, MaxPartSymbols))
		n = 0
	}
	a.Symbols = make(Set, n)
	for range n {
		s, f := r.Str(), r.Str()
		if r.Err() != nil {
			break
		}
		a.Symbols[subject.Symbol(s)] = Flag(f)
	}
	r.End(extra)
	if r.Err() == nil {
		if _, err := subject.ParseBucket(string(a.Bucket)); err != nil {
			r.Fail(err)
		} else if part >= subject.Parts {
			r.Fail(fmt.Errorf("part %d, want 0 to %d", part, subject.Parts-1))
		} else if err := a.Symbols.Validate(int(part)); err != nil {
			r.Fail(err)
		}
	}
	if err := r.Err(); err != nil {
		return Announcement{}, fmt.Errorf("decode interest: %w", err)
	}
	a.Part = int(part)
	return a, nil
}

// DecodePart reads a value of INTEREST.
func DecodePart(part int, value []byte) (PartValue, error) {
	var v PartValue
	if err := json.Unmarshal(value, &v); err != nil {
		return PartValue{}, fmt.Errorf("decode interest part: %w", err)
	}
	if err := v.Symbols.Validate(part); err != nil {
		return PartValue{}, fmt.Errorf("decode interest part: %w", err)
	}
	return v, nil
}
