package session

import (
	"fmt"

	"github.com/tickfan/tickfan/proto/wire"
)

// eachMsgpack is exact: a float is no integer, a map has string keys and nothing follows it.
func eachMsgpack(p []byte, field func(name []byte, v value)) error {
	r := wire.NewReader(p)
	if k := msgpackValue(p).kind(); len(p) > 0 && k != "a map" {
		return fmt.Errorf("message is %s: must be a MessagePack map", k)
	}
	for range r.Map() {
		name, v := r.Str(), r.Raw()
		if r.Err() != nil {
			break
		}
		field(name, msgpackValue(v))
	}
	r.End(0)
	if err := r.Err(); err != nil {
		return fmt.Errorf("not a MessagePack map with string keys: %w", err)
	}
	return nil
}

// msgpackValue is one MessagePack value, known to be whole.
type msgpackValue []byte

func (v msgpackValue) null() bool { return v[0] == 0xc0 }

func (v msgpackValue) str() (string, bool) {
	r := wire.NewReader(v)
	s := r.Str()
	return string(s), r.Err() == nil
}

func (v msgpackValue) integer() (int64, bool) {
	r := wire.NewReader(v)
	n := r.Int()
	return n, r.Err() == nil
}

func (v msgpackValue) strs() (list []string, ok bool) {
	r := wire.NewReader(v)
	for range r.Array() {
		s := r.Str()
		if r.Err() != nil {
			return nil, false
		}
		list = append(list, string(s))
	}
	return list, r.Err() == nil
}

func (v msgpackValue) afters() (list []after, ok bool) {
	r := wire.NewReader(v)
	for range r.Map() {
		a := after{symbol: string(r.Str())}
		if !r.Nil() {
			for range r.Array() {
				a.position = append(a.position, r.Uint())
				if r.Err() != nil {
					return nil, false
				}
			}
		}
		list = append(list, a)
	}
	return list, r.Err() == nil
}

func (v msgpackValue) kind() string {
	switch r := wire.NewReader(v); r.Type() {
	case wire.TypeNil:
		return "nil"
	case wire.TypeBool:
		return "a boolean"
	case wire.TypeInt:
		return "an integer"
	case wire.TypeFloat:
		return "a float"
	case wire.TypeStr:
		return "a string"
	case wire.TypeArray:
		return "an array"
	case wire.TypeMap:
		return "a map"
	}
	return "of a type that the protocol does not use"
}
