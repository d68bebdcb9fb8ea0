package wire

import (
	"errors"
	"fmt"
)

// Kind is the first element of every MessagePack payload on NATS, so that one decoder can read them all.
type Kind uint8

const (
	KindTick          Kind = 1 // ticks.<symbol>, and an item of a batch
	KindBeat          Kind = 2 // beat
	KindBatch         Kind = 3 // fanout.<region>.<bucket>
	KindInterest      Kind = 4 // interest.<region>
	KindRouterBeat    Kind = 5 // router.<region>.beat
	KindNewestRequest Kind = 6 // router.<region>.newest
	KindNewestAnswer  Kind = 7 // the answer to it
)

var errKind = errors.New("not an array that starts with a kind")

// KindOf reads the kind at the head of a payload.
func KindOf(payload []byte) (Kind, error) {
	r := NewReader(payload)
	if r.Array() == 0 || r.Err() != nil {
		return 0, errKind
	}
	k := r.Uint()
	if r.Err() != nil || k > 255 {
		return 0, errKind
	}
	return Kind(k), nil
}

// Kind reads the head of a payload of that kind and at least n elements, the kind being the first of them, and gives
// the number of elements beyond n: what a later version may have added, for End to pass over.
func (r *Reader) Kind(want Kind, n int) (extra int) {
	got, k := r.Array(), r.Uint()
	switch {
	case r.err != nil:
	case k != uint64(want):
		r.Fail(fmt.Errorf("kind %d, want %d", k, want))
	case got < n:
		r.Fail(fmt.Errorf("%d elements, want %d or more", got, n))
	default:
		return got - n
	}
	return 0
}

// End passes over extra elements and fails when anything follows them.
func (r *Reader) End(extra int) {
	r.SkipN(extra)
	if r.err == nil && r.Left() > 0 {
		r.Fail(fmt.Errorf("%d bytes after the end", r.Left()))
	}
}
