package session

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/internal/object"
)

// appendJSON appends v without the escapes for HTML that json.Marshal makes: "<" stays "<".
func appendJSON(dst []byte, v any) []byte {
	buf := bytes.NewBuffer(dst)
	e := json.NewEncoder(buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("session: %T does not encode: %v", v, err)) // no field of what is passed here can fail
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte{'\n'})
}

func eachJSON(p []byte, field func(name []byte, v value)) error {
	err := object.Each(p, func(name, v []byte) error {
		field(name, jsonValue(v))
		return nil
	})
	switch {
	case errors.Is(err, object.ErrNot):
		return fmt.Errorf("message is %s: must be a JSON object", jsonValue(bytes.TrimSpace(p)).kind())
	case err != nil:
		return fmt.Errorf("not JSON: %w", err)
	}
	return nil
}

// jsonValue is the text of one JSON value, known to be valid.
type jsonValue []byte

func (v jsonValue) null() bool { return v[0] == 'n' }

func (v jsonValue) str() (s string, ok bool) {
	if v[0] != '"' {
		return "", false
	}
	t, err := object.Unquote(v)
	return string(t), err == nil
}

func (v jsonValue) integer() (n int64, ok bool) { return n, json.Unmarshal(v, &n) == nil }

func (v jsonValue) strs() (list []string, ok bool) {
	var elements []*string // pointers, because a null would be ""
	if v[0] != '[' || json.Unmarshal(v, &elements) != nil {
		return nil, false
	}
	list = make([]string, len(elements))
	for i, e := range elements {
		if e == nil {
			return nil, false
		}
		list[i] = *e
	}
	return list, true
}

func (v jsonValue) afters() (list []after, ok bool) {
	err := object.Each(v, func(name, v []byte) error {
		a := after{symbol: string(name)}
		var position []*uint64 // pointers, because a null would be a 0
		if err := json.Unmarshal(v, &position); err != nil {
			return err
		}
		for _, n := range position {
			if n == nil {
				return errors.New("null")
			}
			a.position = append(a.position, *n)
		}
		list = append(list, a)
		return nil
	})
	return list, err == nil
}

func (v jsonValue) kind() string {
	switch v[0] {
	case 'n':
		return "null"
	case '"':
		return "a string"
	case '{':
		return "an object"
	case '[':
		return "an array"
	case 't', 'f':
		return "a boolean"
	}
	return "the number " + code.Quote(v)
}
