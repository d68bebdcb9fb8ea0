package fleet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
)

// serverFrame is a frame as a server writes it.
func serverFrame(opcode byte, payload []byte) []byte {
	b := []byte{0x80 | opcode}
	switch n := len(payload); {
	case n <= 125:
		b = append(b, byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	return append(b, payload...)
}

func TestCut(t *testing.T) {
	for _, size := range []int{0, 1, 125, 126, 127, 0xffff, 0x10000} {
		payload := bytes.Repeat([]byte{'x'}, size)
		p := append(serverFrame(opText, payload), "next"...)
		var f frame
		n, err := f.cut(p)
		if err != nil || n != len(p)-4 || f.opcode != opText || !f.fin || !bytes.Equal(f.payload, payload) {
			t.Errorf("%d bytes: %d, %v", size, n, err)
		}
		for _, short := range []int{0, 1, 2, 3, 9, n - 1} {
			if short >= n {
				continue
			}
			if got, err := f.cut(p[:short]); got != 0 || err != nil {
				t.Errorf("the first %d of %d bytes: %d, %v", short, n, got, err)
			}
		}
	}
}

func TestCutRefuses(t *testing.T) {
	for _, c := range []struct {
		p    []byte
		want error
	}{
		{[]byte{0xc1, 0}, errReserved},
		{[]byte{0x81, 0x80}, errMasked},
		{[]byte{0x83, 0}, errOpcode},
		{[]byte{0x8b, 0}, errOpcode},
		{[]byte{0x09, 0}, errControl},
		{[]byte{0x89, 126}, errControl},
		{[]byte{0x82, 127, 0, 0, 0, 0, 1, 0, 0, 1}, errHuge},
		{[]byte{0x82, 127, 0xff, 0, 0, 0, 1, 0, 0, 1}, errHuge},
	} {
		if n, err := new(frame).cut(c.p); n != 0 || !errors.Is(err, c.want) {
			t.Errorf("% x: %d, %v, want %v", c.p, n, err, c.want)
		}
	}
}

// unmask reads a client's frame by the letter of RFC 6455, 5.3.
func unmask(t *testing.T, p []byte) (opcode byte, payload []byte) {
	t.Helper()
	length, from := int(p[1]&0x7f), 2
	switch length {
	case 126:
		length, from = int(binary.BigEndian.Uint16(p[2:])), 4
	case 127:
		length, from = int(binary.BigEndian.Uint64(p[2:])), 10
	}
	if p[0]&0xf0 != 0x80 || p[1]&0x80 == 0 || len(p) != from+4+length {
		t.Fatalf("% x is not a client's frame", p[:min(len(p), 16)])
	}
	key := p[from : from+4]
	for i, c := range p[from+4:] {
		payload = append(payload, c^key[i%4])
	}
	return p[0] & 0x0f, payload
}

func TestAppendFrame(t *testing.T) {
	for _, size := range []int{0, 1, 7, 125, 126, 0xffff, 0x10000} {
		in := bytes.Repeat([]byte("abcde"), size/5+1)[:size]
		if opcode, got := unmask(t, appendFrame(nil, opPong, in)); opcode != opPong || !bytes.Equal(got, in) {
			t.Errorf("%d bytes: opcode %d, %d bytes", size, opcode, len(got))
		}
	}
}

// FuzzCut cuts the same bytes whole and from pieces.
func FuzzCut(f *testing.F) {
	f.Add(serverFrame(opText, []byte("hello")), uint16(3))
	f.Add(append(serverFrame(opBinary, make([]byte, 200)), serverFrame(opPing, nil)...), uint16(1))
	f.Add(serverFrame(opClose, []byte{0x03, 0xe9}), uint16(0))
	f.Fuzz(func(t *testing.T, p []byte, at uint16) {
		cutAll := func(p []byte) (frames []frame, rest int, err error) {
			for {
				var f frame
				n, err := f.cut(p)
				if n == 0 || err != nil {
					return frames, len(p), err
				}
				if n < 2+len(f.payload) || n > len(p) {
					t.Fatalf("a frame of %d bytes with a payload of %d out of %d", n, len(f.payload), len(p))
				}
				frames, p = append(frames, f), p[n:]
			}
		}
		frames, rest, err := cutAll(p)
		first, left, early := cutAll(p[:min(int(at), len(p))])
		if early != nil {
			return
		}
		second, restAgain, errAgain := cutAll(p[min(int(at), len(p))-left:])
		if len(first)+len(second) != len(frames) || rest != restAgain || !errors.Is(errAgain, err) {
			t.Fatalf("whole: %d frames, %d bytes left, %v; in pieces: %d, %d, %v", len(frames), rest, err, len(first)+len(second), restAgain, errAgain)
		}
		for i, f := range append(first, second...) {
			if f.opcode != frames[i].opcode || f.fin != frames[i].fin || !bytes.Equal(f.payload, frames[i].payload) {
				t.Fatalf("frame %d differs", i)
			}
		}
		closeCode(p)
	})
}
