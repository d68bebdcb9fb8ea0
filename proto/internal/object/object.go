package object

import (
	"bytes"
	"encoding/json"
	"errors"
)

// ErrNot is a JSON value that is no object.
var ErrNot = errors.New("not a JSON object")

// Each calls field with the name and the JSON text of each field of the object p, in order. It stops at the first
// error of field and returns it. An error before the first call is ErrNot or what encoding/json says of the text.
func Each(p []byte, field func(name, value []byte) error) error {
	if !json.Valid(p) {
		var v json.RawMessage
		return json.Unmarshal(p, &v)
	}
	w := walk{b: p}
	w.blanks()
	if w.b[w.at] != '{' {
		return ErrNot
	}
	w.at++
	for w.blanks(); w.b[w.at] != '}'; w.blanks() {
		if w.b[w.at] == ',' {
			w.at++
			w.blanks()
		}
		name, err := Unquote(w.value())
		if err != nil {
			return err
		}
		w.blanks()
		w.at++ // the colon
		w.blanks()
		if err := field(name, w.value()); err != nil {
			return err
		}
	}
	return nil
}

// walk is a place in a text that is known to be valid JSON: no check below can fail.
type walk struct {
	b  []byte
	at int
}

func (w *walk) blanks() {
	for w.at < len(w.b) && (w.b[w.at] == ' ' || w.b[w.at] == '\n' || w.b[w.at] == '\t' || w.b[w.at] == '\r') {
		w.at++
	}
}

// value takes the value that starts here.
func (w *walk) value() []byte {
	from := w.at
	switch w.b[w.at] {
	case '"':
		w.string()
	case '{', '[':
		for depth := 0; ; {
			switch w.b[w.at] {
			case '"':
				w.string()
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			w.at++
			if depth == 0 {
				return w.b[from:w.at]
			}
		}
	default:
		if n := bytes.IndexAny(w.b[w.at:], ",}] \n\t\r"); n >= 0 {
			w.at += n
		} else {
			w.at = len(w.b)
		}
	}
	return w.b[from:w.at]
}

func (w *walk) string() {
	for w.at++; w.b[w.at] != '"'; w.at++ {
		if w.b[w.at] == '\\' {
			w.at++
		}
	}
	w.at++
}

// Unquote gives the text of a JSON string.
func Unquote(s []byte) ([]byte, error) {
	if bytes.IndexByte(s, '\\') < 0 {
		return s[1 : len(s)-1], nil
	}
	var out string
	err := json.Unmarshal(s, &out)
	return []byte(out), err
}
