package wire

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"
)

var uints = []uint64{0, 1, 127, 128, 255, 256, 65535, 65536, math.MaxUint32, math.MaxUint32 + 1, math.MaxInt64, math.MaxInt64 + 1, math.MaxUint64}

var ints = []int64{0, 1, -1, -32, -33, 127, 128, -127, -128, -129, math.MaxInt16, math.MinInt16, math.MinInt16 - 1, math.MaxInt32, math.MinInt32,
	math.MinInt32 - 1, math.MaxInt64, math.MinInt64}

// TestAppendAgainstReference compares with another implementation, byte for byte, where that one is compact too.
func TestAppendAgainstReference(t *testing.T) {
	reference := func(v any) []byte {
		var buf bytes.Buffer
		e := msgpack.NewEncoder(&buf)
		e.UseCompactInts(true)
		if err := e.Encode(v); err != nil {
			t.Fatal(err)
		}
		return buf.Bytes()
	}
	check := func(v any, got []byte) {
		t.Helper()
		if want := reference(v); !bytes.Equal(got, want) {
			t.Errorf("%v: % x, want % x", v, got, want)
		}
	}
	for _, v := range uints {
		check(v, AppendUint(nil, v))
	}
	for _, v := range ints {
		check(v, AppendInt(nil, v))
	}
	for _, n := range []int{0, 1, 31, 32, 255, 256, 65535, 65536} {
		s := strings.Repeat("s", n)
		check(s, AppendStr(nil, s))
		check(s, AppendStr(nil, []byte(s)))
		list := AppendArray(nil, n)
		for range n {
			list = AppendBool(list, true)
		}
		trues := make([]bool, n)
		for i := range trues {
			trues[i] = true
		}
		check(trues, list)
	}
	check(nil, AppendNil(nil))
	check(false, AppendBool(nil, false))
	check(map[string]int{"a": 1}, AppendUint(AppendStr(AppendMap(nil, 1), "a"), 1))
}

func TestReadIntegersOfEveryWidth(t *testing.T) {
	widths := func(v uint64) [][]byte {
		return [][]byte{
			{0xcc, byte(v)}, {0xcd, byte(v >> 8), byte(v)}, {0xce, byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)},
			{0xd0, byte(v)}, {0xd1, byte(v >> 8), byte(v)}, {0xd2, byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)},
			{0xcf, 0, 0, 0, 0, byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}, {0xd3, 0, 0, 0, 0, byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}}
	}
	for _, p := range append(widths(100), []byte{100}) {
		r := NewReader(p)
		if v := r.Uint(); v != 100 || r.Err() != nil || r.Left() != 0 {
			t.Errorf("% x as uint: %d, %v", p, v, r.Err())
		}
		r = NewReader(p)
		if v := r.Int(); v != 100 || r.Err() != nil || r.Left() != 0 {
			t.Errorf("% x as int: %d, %v", p, v, r.Err())
		}
	}
	for _, v := range uints {
		r := NewReader(AppendUint(nil, v))
		if got := r.Uint(); got != v || r.Err() != nil {
			t.Errorf("%d: %d, %v", v, got, r.Err())
		}
	}
	for _, v := range ints {
		r := NewReader(AppendInt(nil, v))
		if got := r.Int(); got != v || r.Err() != nil {
			t.Errorf("%d: %d, %v", v, got, r.Err())
		}
	}
}

func TestReaderIsExact(t *testing.T) {
	uint := func(r *Reader) { r.Uint() }
	int := func(r *Reader) { r.Int() }
	for name, c := range map[string]struct {
		p    []byte
		read func(*Reader)
		want error
	}{
		"float as uint":         {[]byte{0xcb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0}, uint, ErrType},
		"float as int":          {[]byte{0xca, 0x3f, 0x80, 0, 0}, int, ErrType},
		"negative as uint":      {[]byte{0xff}, uint, ErrType},
		"negative d0 as uint":   {[]byte{0xd0, 0x80}, uint, ErrType},
		"above int64":           {AppendUint(nil, 1<<63), int, ErrType},
		"string as uint":        {AppendStr(nil, "1"), uint, ErrType},
		"nil as bool":           {AppendNil(nil), func(r *Reader) { r.Bool() }, ErrType},
		"uint as string":        {[]byte{1}, func(r *Reader) { r.Str() }, ErrType},
		"map as array":          {[]byte{0x80}, func(r *Reader) { r.Array() }, ErrType},
		"array as map":          {[]byte{0x90}, func(r *Reader) { r.Map() }, ErrType},
		"end":                   {nil, uint, ErrShort},
		"cut integer":           {[]byte{0xcd, 1}, uint, ErrShort},
		"cut string":            {[]byte{0xa3, 'a'}, func(r *Reader) { r.Str() }, ErrShort},
		"string of 4 GB":        {[]byte{0xdb, 0xff, 0xff, 0xff, 0xff, 'a'}, func(r *Reader) { r.Str() }, ErrShort},
		"array of 4 G elements": {[]byte{0xdd, 0xff, 0xff, 0xff, 0xff, 1}, func(r *Reader) { r.Array() }, ErrShort},
		"map of 4 G pairs":      {[]byte{0xdf, 0xff, 0xff, 0xff, 0xff, 1, 1}, func(r *Reader) { r.Map() }, ErrShort},
		"ext of 4 GB":           {[]byte{0xc9, 0xff, 0xff, 0xff, 0xff, 1, 1}, func(r *Reader) { r.Skip() }, ErrShort},
		"ext without data":      {[]byte{0xc7, 2, 1, 1}, func(r *Reader) { r.Skip() }, ErrShort},
		"nested too deep":       {bytes.Repeat([]byte{0x91}, 1000), func(r *Reader) { r.Skip() }, ErrDepth},
	} {
		r := NewReader(c.p)
		if c.read(&r); !errors.Is(r.Err(), c.want) {
			t.Errorf("%s: %v, want %v", name, r.Err(), c.want)
		}
		if r.Uint() != 0 || r.Int() != 0 || r.Str() != nil || r.Raw() != nil || r.Array() != 0 || r.Map() != 0 || r.Bool() || r.Nil() || r.Left() != 0 {
			t.Errorf("%s: reads on after the error", name)
		}
	}
}

func TestStringsCannotGrowIntoThePayload(t *testing.T) {
	p := AppendStr(AppendStr(nil, "ab"), "cd")
	r := NewReader(p)
	s := r.Str()
	_ = append(s, 'X')
	if got := r.Str(); string(got) != "cd" {
		t.Errorf("the next value became %q", got)
	}
}

func TestKind(t *testing.T) {
	p := AppendUint(AppendUint(AppendArray(nil, 2), uint64(KindBeat)), 7)
	if k, err := KindOf(p); k != KindBeat || err != nil {
		t.Errorf("kind %d, %v", k, err)
	}
	for _, bad := range [][]byte{nil, {}, {0x90}, {0x80}, {0x91}, {0x91, 0xa0}, {0x92, 0xcd, 1, 0}, {0x91, 0xcd, 1, 0}, []byte(`{"a":1}`)} {
		if k, err := KindOf(bad); err == nil {
			t.Errorf("% x is kind %d", bad, k)
		}
	}
	for n, want := range map[int]string{1: "", 2: "", 3: "2 elements, want 3 or more"} {
		r := NewReader(p)
		extra := r.Kind(KindBeat, n)
		if n == 2 {
			r.Uint()
		}
		r.End(extra)
		if msg := text(r.Err()); msg != want || extra != max(0, 2-n) {
			t.Errorf("%d elements: %d extra, %q, want %q", n, extra, msg, want)
		}
	}
	r := NewReader(p)
	if r.Kind(KindTick, 1); text(r.Err()) != "kind 2, want 1" {
		t.Errorf("%v", r.Err())
	}
	r = NewReader(append(p, 0))
	if r.End(r.Kind(KindBeat, 1)); text(r.Err()) != "1 bytes after the end" {
		t.Errorf("%v", r.Err())
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// walk reads one value of any type through the typed methods; Skip and Raw must agree with it.
func walk(r *Reader, depth int) {
	if depth == 0 {
		r.Fail(ErrDepth)
	}
	if r.Err() != nil {
		return
	}
	switch r.Type() {
	case TypeNil:
		r.Nil()
	case TypeBool:
		r.Bool()
	case TypeInt:
		if h := r.Peek(); h >= 0xd0 {
			r.Int()
		} else {
			r.Uint()
		}
	case TypeStr:
		r.Str()
	case TypeArray:
		for range r.Array() {
			walk(r, depth-1)
		}
	case TypeMap:
		for range 2 * r.Map() {
			walk(r, depth-1)
		}
	default:
		r.Skip()
	}
}

func FuzzSkipAndRaw(f *testing.F) {
	for _, v := range []any{nil, true, 1, -1, 1 << 40, "text", []byte("bin"), 1.5, float32(1.5), []any{1, "a", nil}, map[string]any{"a": []int{1, 2}}} {
		p, err := msgpack.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p)
	}
	f.Add([]byte{0xd4, 1, 2})
	f.Add([]byte{0xc7, 2, 1, 2, 3})
	f.Add([]byte{0xc1})
	f.Add([]byte{0xdd, 0xff, 0xff, 0xff, 0xff})
	f.Add(bytes.Repeat([]byte{0x91}, 20))
	f.Fuzz(func(t *testing.T, p []byte) {
		skip, raw, typed := NewReader(p), NewReader(p), NewReader(p)
		skip.Skip()
		v := raw.Raw()
		walk(&typed, maxDepth)
		if (skip.Err() == nil) != (raw.Err() == nil) || (skip.Err() == nil) != (typed.Err() == nil) || skip.Pos() != raw.Pos() || skip.Pos() != typed.Pos() {
			t.Fatalf("skip %d %v, raw %d %v, typed %d %v", skip.Pos(), skip.Err(), raw.Pos(), raw.Err(), typed.Pos(), typed.Err())
		}
		if skip.Err() != nil {
			if v != nil || skip.Left() != 0 {
				t.Fatalf("a failed reader gives % x, %d left", v, skip.Left())
			}
			return
		}
		if !bytes.Equal(v, p[:raw.Pos()]) {
			t.Fatalf("raw % x is not the head of % x", v, p)
		}
		for cut := range min(len(v), 100) { // no value is complete before its last byte
			r := NewReader(v[:cut])
			if r.Skip(); !errors.Is(r.Err(), ErrShort) {
				t.Fatalf("% x cut to %d bytes: %v", v, cut, r.Err())
			}
		}
	})
}
