package tick

import (
	"bytes"
	"strings"
	"testing"
)

const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestTrace(t *testing.T) {
	for _, tk := range ticks() {
		plain := tk.Append(nil)
		if got := TraceOf(plain); got != nil {
			t.Errorf("%+v: trace %q", tk, got)
		}
		p := plain
		for _, want := range []string{"00-00000000000000000000000000000001-0000000000000001-01", traceparent} { // the second in the place of the first
			var err error
			if p, err = WithTrace(p, want); err != nil {
				t.Fatal(err)
			}
			if got := TraceOf(p); string(got) != want {
				t.Errorf("%+v: trace %q, want %q", tk, got, want)
			}
			if got, err := Decode(p); err != nil || got != tk {
				t.Errorf("%+v comes back as %+v, %v", tk, got, err)
			}
			if h, err := DecodeHead(p); err != nil || h.Position != tk.Position {
				t.Errorf("head of %+v comes back as %+v, %v", tk, h, err)
			}
		}
		if !bytes.Equal(plain, tk.Append(nil)) {
			t.Error("the untraced payload has changed")
		}
	}
	if _, err := WithTrace([]byte{0x92, 3, 1}, traceparent); err == nil || !strings.Contains(err.Error(), "kind 3") {
		t.Errorf("another kind is traced: %v", err)
	}
}

func FuzzTrace(f *testing.F) {
	for _, tk := range ticks() {
		p, err := WithTrace(tk.Append(nil), traceparent)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p)
		f.Add(tk.Append(nil))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		TraceOf(p)
		tk, err := Decode(p)
		traced, terr := WithTrace(p, traceparent)
		if err != nil {
			return
		}
		if terr != nil {
			t.Fatalf("it decodes, and cannot be traced: %v", terr)
		}
		if got, err := Decode(traced); err != nil || got != tk || string(TraceOf(traced)) != traceparent {
			t.Fatalf("%+v comes back as %+v, %v, trace %q", tk, got, err, TraceOf(traced))
		}
	})
}
