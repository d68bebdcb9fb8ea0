package object

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"
)

func TestEachGivesTheFieldsInOrder(t *testing.T) {
	const in = " {\"b\" : 1.50,\n\"a\":\"x\\\"}\",\"b\":[{\"c\":\"]\"},[]],\"\":null,\"\\u0070rice\":{},\"e\":-1e400}\t"
	var got []string
	err := Each([]byte(in), func(name, value []byte) error {
		got = append(got, fmt.Sprintf("%s=%s", name, value))
		return nil
	})
	want := []string{`b=1.50`, `a="x\"}"`, `b=[{"c":"]"},[]]`, `=null`, `price={}`, `e=-1e400`}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %q, %v\nwant %q", got, err, want)
	}
}

func TestEachRefuses(t *testing.T) {
	for _, in := range []string{`[]`, `"a"`, `1`, `null`, ` true `} {
		if err := Each([]byte(in), nil); !errors.Is(err, ErrNot) {
			t.Errorf("%q: %v, want ErrNot", in, err)
		}
	}
	for _, in := range []string{``, ` `, `{`, `{"a"}`, `{"a":1}{}`, `{"a":1} x`, `{"a":1,}`, `{a:1}`, "{\"a\":1}\x00", `{"a":01}`} {
		err := Each([]byte(in), nil)
		var syntax *json.SyntaxError
		if !errors.As(err, &syntax) {
			t.Errorf("%q: %v, want a syntax error", in, err)
		}
	}
}

func TestEachStopsAtTheFirstError(t *testing.T) {
	stop, calls := errors.New("stop"), 0
	err := Each([]byte(`{"a":1,"b":2}`), func(_, _ []byte) error { calls++; return stop })
	if !errors.Is(err, stop) || calls != 1 {
		t.Fatalf("%v after %d calls", err, calls)
	}
}

// FuzzEach compares the walk with encoding/json, which keeps the last of a name.
func FuzzEach(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":1}`, ` { "a" : [1,{"b":"}"}] , "a":"\\\"" } `, `[]`, `{"a":1}x`, `{"\u0061":null,"b":-0.5e+3}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		got := map[string]json.RawMessage{}
		err := Each(p, func(name, value []byte) error {
			var key string // invalid UTF-8 is replaced by encoding/json, in names too
			if err := json.Unmarshal(append(append([]byte{'"'}, escape(name)...), '"'), &key); err != nil {
				t.Fatalf("name %q: %v", name, err)
			}
			got[key] = value
			return nil
		})
		want := map[string]json.RawMessage{}
		werr := json.Unmarshal(p, &want)
		if errors.Is(err, ErrNot) { // null decodes into a map as nil
			if werr == nil && want != nil {
				t.Fatalf("no object: %q", p)
			}
			return
		}
		if (err == nil) != (werr == nil) {
			t.Fatalf("%q: %v, encoding/json: %v", p, err, werr)
		}
		if err == nil && !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: got %q, want %q", p, got, want)
		}
	})
}

func escape(name []byte) []byte {
	q, _ := json.Marshal(string(name))
	return q[1 : len(q)-1]
}
