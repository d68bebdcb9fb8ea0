package session

import "github.com/tickfan/tickfan/proto/code"

// text is a request as it travels: right in type, not yet in meaning. Both formats are read into it through the same
// few questions to a value, so that what one of them refuses the other refuses too, in the same words.
type text struct {
	op      *string
	id      *int64
	symbols []string
	mode    *string
	maxRate *int64
	after   []after

	given [len(fieldTypes)]bool
	fault error // the first; reading goes on after it, to find the id
}

// after is one symbol of the field of that name. The position may have any number of elements.
type after struct {
	symbol   string
	position []uint64
}

// value is a field's value in one of the formats. A question is answered with false by a value of another type.
type value interface {
	null() bool
	str() (string, bool)
	integer() (int64, bool)
	strs() ([]string, bool)
	afters() ([]after, bool)
	kind() string // for a person: "a string", "the number 1.5"
}

// fieldTypes are the fields of a request and what each must be.
var fieldTypes = [...]struct{ name, must string }{
	{"op", "a string"},
	{"id", "a signed 64-bit integer"},
	{"symbols", "an array of strings"},
	{"mode", "a string"},
	{"max_rate", "a signed 64-bit integer"},
	{"after", "an object of symbol: [epoch, seq]"},
}

func (t *text) read(f Format, p []byte) error {
	each := eachMsgpack
	if f == JSON {
		each = eachJSON
	}
	if err := each(p, t.field); err != nil {
		return code.Errorf(code.BadMessage, "%v", err)
	}
	return t.fault
}

func (t *text) field(name []byte, v value) {
	for i, ft := range fieldTypes {
		if string(name) != ft.name || v.null() {
			continue
		}
		if t.given[i] {
			t.fail("%s is given twice", name)
		} else if !t.set(ft.name, v) {
			t.fail("%s is %s: must be %s", name, v.kind(), ft.must)
		}
		t.given[i] = true
	}
}

func (t *text) set(name string, v value) (ok bool) {
	switch name {
	case "op":
		t.op, ok = pointer(v.str())
	case "id":
		t.id, ok = pointer(v.integer())
	case "symbols":
		t.symbols, ok = v.strs()
	case "mode":
		t.mode, ok = pointer(v.str())
	case "max_rate":
		t.maxRate, ok = pointer(v.integer())
	case "after":
		t.after, ok = v.afters()
	}
	return ok
}

func pointer[T any](v T, ok bool) (*T, bool) {
	if !ok {
		return nil, false
	}
	return &v, true
}

func (t *text) fail(format string, args ...any) {
	if t.fault == nil {
		t.fault = code.Errorf(code.BadMessage, format, args...)
	}
}
