package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Errors that a Reader stops with.
var (
	ErrShort = errors.New("msgpack: payload ends early")
	ErrType  = errors.New("msgpack: value of another type")
	ErrDepth = errors.New("msgpack: nested too deep")
)

// Reader takes values off a payload, front to back. The first error sticks: every later call returns a zero value,
// so a decoder reads all its fields and asks for Err once. Strings and raw values point into the payload.
type Reader struct {
	b   []byte
	pos int
	err error
}

// NewReader starts at the head of b.
func NewReader(b []byte) Reader { return Reader{b: b} }

// Err is the first error, or nil.
func (r *Reader) Err() error { return r.err }

// Pos is the number of bytes read.
func (r *Reader) Pos() int { return r.pos }

// Left is the number of bytes not read yet.
func (r *Reader) Left() int { return len(r.b) - r.pos }

// Fail makes err the reader's error, unless it has one.
func (r *Reader) Fail(err error) {
	if r.err == nil {
		r.err = err
		r.pos = len(r.b)
	}
}

func (r *Reader) take(n int) []byte {
	if n > len(r.b)-r.pos {
		r.Fail(ErrShort)
		return nil
	}
	p := r.b[r.pos : r.pos+n : r.pos+n]
	r.pos += n
	return p
}

func (r *Reader) uintN(n int) uint64 {
	p := r.take(n)
	if p == nil {
		return 0
	}
	switch n {
	case 1:
		return uint64(p[0])
	case 2:
		return uint64(binary.BigEndian.Uint16(p))
	case 4:
		return uint64(binary.BigEndian.Uint32(p))
	}
	return binary.BigEndian.Uint64(p)
}

// Peek is the next byte, which tells the next value's type; 0xc1, which MessagePack never uses, at the end.
func (r *Reader) Peek() byte {
	if r.pos >= len(r.b) {
		return 0xc1
	}
	return r.b[r.pos]
}

// Type is a family of values.
type Type uint8

const (
	TypeNone  Type = iota // no value: the end, or a byte that starts none
	TypeNil               // Nil
	TypeBool              // Bool
	TypeInt               // Int, Uint
	TypeFloat             // Skip
	TypeStr               // Str
	TypeArray             // Array
	TypeMap               // Map
	TypeExt               // Skip
)

// Type tells what the next value is, without reading it.
func (r *Reader) Type() Type {
	switch h := r.Peek(); {
	case h < 0x80, h >= 0xe0, h >= 0xcc && h <= 0xd3:
		return TypeInt
	case h >= 0xa0 && h <= 0xbf, h >= 0xd9 && h <= 0xdb, h >= 0xc4 && h <= 0xc6:
		return TypeStr
	case h == 0xc0:
		return TypeNil
	case h == 0xc2, h == 0xc3:
		return TypeBool
	case h == 0xca, h == 0xcb:
		return TypeFloat
	case h&0xf0 == 0x90, h == 0xdc, h == 0xdd:
		return TypeArray
	case h&0xf0 == 0x80, h == 0xde, h == 0xdf:
		return TypeMap
	case h == 0xc1:
		return TypeNone
	}
	return TypeExt
}

func (r *Reader) head() byte {
	p := r.take(1)
	if p == nil {
		return 0xc1
	}
	return p[0]
}

// Nil reads a nil if the next value is one, and tells whether it was.
func (r *Reader) Nil() bool {
	if r.Peek() != 0xc0 {
		return false
	}
	r.pos++
	return true
}

// Bool reads a boolean.
func (r *Reader) Bool() bool {
	switch r.head() {
	case 0xc3:
		return true
	case 0xc2:
	default:
		r.Fail(ErrType)
	}
	return false
}

// Uint reads an integer that is not negative.
func (r *Reader) Uint() uint64 {
	switch h := r.head(); {
	case h < 0x80:
		return uint64(h)
	case h >= 0xcc && h <= 0xcf:
		return r.uintN(1 << (h - 0xcc))
	case h >= 0xd0 && h <= 0xd3:
		if v := r.signed(h); v >= 0 {
			return uint64(v)
		}
	}
	r.Fail(ErrType)
	return 0
}

// Int reads an integer.
func (r *Reader) Int() int64 {
	switch h := r.head(); {
	case h < 0x80:
		return int64(h)
	case h >= 0xe0:
		return int64(int8(h))
	case h >= 0xcc && h <= 0xcf:
		if v := r.uintN(1 << (h - 0xcc)); v <= 1<<63-1 {
			return int64(v)
		}
	case h >= 0xd0 && h <= 0xd3:
		return r.signed(h)
	}
	r.Fail(ErrType)
	return 0
}

func (r *Reader) signed(h byte) int64 {
	n := 1 << (h - 0xd0)
	v := r.uintN(n)
	shift := 64 - 8*n
	return int64(v<<shift) >> shift
}

// Str reads a string (or bin) as a slice of the payload.
func (r *Reader) Str() []byte {
	var n uint64
	switch h := r.head(); {
	case h >= 0xa0 && h <= 0xbf:
		n = uint64(h & 0x1f)
	case h >= 0xd9 && h <= 0xdb:
		n = r.uintN(1 << (h - 0xd9))
	case h >= 0xc4 && h <= 0xc6:
		n = r.uintN(1 << (h - 0xc4))
	default:
		r.Fail(ErrType)
	}
	if r.err != nil {
		return nil
	}
	if n > uint64(r.Left()) {
		r.Fail(ErrShort)
		return nil
	}
	return r.take(int(n))
}

// Array reads an array's header. The length is never more than the bytes left, so it is safe to reserve for.
func (r *Reader) Array() int { return r.count(0x90, 0xdc, 1) }

// Map reads a map's header and gives the number of pairs, never more than half the bytes left.
func (r *Reader) Map() int { return r.count(0x80, 0xde, 2) }

func (r *Reader) count(fix, long byte, size int) int {
	var n uint64
	switch h := r.head(); {
	case h&0xf0 == fix:
		n = uint64(h & 0x0f)
	case h == long:
		n = r.uintN(2)
	case h == long+1:
		n = r.uintN(4)
	default:
		r.Fail(ErrType)
	}
	if r.err != nil {
		return 0
	}
	if n > uint64(r.Left()/size) {
		r.Fail(ErrShort)
		return 0
	}
	return int(n)
}

// maxDepth is how deep arrays and maps may nest in a value that is passed over: far more than the protocol needs.
const maxDepth = 16

// Raw reads one value of any type and gives its bytes.
func (r *Reader) Raw() []byte {
	from := r.pos
	r.skip(maxDepth)
	if r.err != nil {
		return nil
	}
	return r.b[from:r.pos:r.pos]
}

// Skip reads one value of any type.
func (r *Reader) Skip() { r.skip(maxDepth) }

// SkipN reads n values of any type.
func (r *Reader) SkipN(n int) { r.skipN(n, maxDepth) }

func (r *Reader) skipN(n, depth int) {
	for i := 0; i < n && r.err == nil; i++ {
		r.skip(depth)
	}
}

func (r *Reader) skip(depth int) {
	if depth == 0 {
		r.Fail(ErrDepth)
	}
	if r.err != nil {
		return
	}
	if n := int(sizes[r.Peek()]); n > 0 {
		r.take(n)
		return
	}
	switch r.Type() {
	case TypeMap:
		r.skipN(2*r.Map(), depth-1)
	case TypeArray:
		r.skipN(r.Array(), depth-1)
	case TypeStr:
		r.Str()
	case TypeExt: // length, type, data
		n := r.uintN(1 << (r.head() - 0xc7))
		if n >= uint64(r.Left()) {
			r.Fail(ErrShort)
			return
		}
		r.take(int(n) + 1)
	default:
		if r.Left() > 0 {
			r.Fail(fmt.Errorf("msgpack: byte 0x%02x starts no value", r.Peek()))
		}
		r.Fail(ErrShort)
	}
}

// sizes gives a value's size in bytes by its first byte, where that alone tells it; else 0. A router and an edge pass
// over every tick's fields, nearly all of which are in it: it halves the time of BenchmarkBatchDecode.
var sizes = func() (t [256]uint8) {
	for h := range t {
		switch {
		case h < 0x80, h >= 0xe0, h == 0xc0, h == 0xc2, h == 0xc3:
			t[h] = 1
		case h >= 0xa0 && h <= 0xbf:
			t[h] = 1 + uint8(h&0x1f)
		case h == 0xca, h == 0xcb:
			t[h] = 1 + 4<<(h-0xca)
		case h >= 0xcc && h <= 0xcf:
			t[h] = 1 + 1<<(h-0xcc)
		case h >= 0xd0 && h <= 0xd3:
			t[h] = 1 + 1<<(h-0xd0)
		case h >= 0xd4 && h <= 0xd8: // type, data
			t[h] = 2 + 1<<(h-0xd4)
		}
	}
	return t
}()
