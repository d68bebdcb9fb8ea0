package tick

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/internal/object"
	"github.com/tickfan/tickfan/proto/wire"
)

// Limits of what is published on ingest.<symbol>.
const (
	MaxQuotePayload = 4 << 10     // bytes
	MaxAhead        = time.Minute // how far a ts may lie ahead of ingest's clock
)

// ParseQuote reads a payload of ingest.<symbol>, told apart by its first byte: "{" is JSON, a digit a bare decimal,
// 0x80 and above a MessagePack map. Blanks around text are ignored, and so are unknown fields; a null is a field not
// given. A missing ts is now.
// The error is a *code.Error: bad_message, bad_price, bad_field, bad_time or too_large.
func ParseQuote(p []byte, now time.Time) (Quote, error) {
	if len(p) > MaxQuotePayload {
		return Quote{}, code.Errorf(code.TooLarge, "payload of %d bytes: at most %d", len(p), MaxQuotePayload)
	}
	q := quoteReader{now: now}
	var err error
	switch text := bytes.TrimSpace(p); {
	case len(text) == 0:
		return Quote{}, code.Errorf(code.BadMessage, "payload is empty: %s", payloadForms)
	case p[0] >= 0x80:
		err = q.msgpack(p)
	case text[0] == '{':
		err = q.json(text)
	case text[0] >= '0' && text[0] <= '9', text[0] == '-', text[0] == '+', text[0] == '.': // signs for a better answer
		err = q.field([]byte(Names[0]), value{text: text})
	default:
		return Quote{}, code.Errorf(code.BadMessage, "payload %s: %s", code.Quote(text), payloadForms)
	}
	if err != nil {
		return Quote{}, code.Errorf(code.BadMessage, "payload %s: %v", code.Quote(p), err)
	}
	return q.end()
}

const payloadForms = `send {"price":"64123.51"}, 64123.51 or a MessagePack map`

// quoteReader takes a quote's fields as they come.
type quoteReader struct {
	Quote
	now     time.Time
	given   uint                      // a bit per field, ts the last
	refused [Decimals + 1]*code.Error // by field: the first in the order of Names is told, whatever the payload's order
}

// value is a field as text. A field whose type cannot be right has why instead.
type value struct {
	text []byte
	why  string
}

// field takes one field. A field given twice is refused: nobody can know which was meant.
func (q *quoteReader) field(name []byte, v value) error {
	i := slices.IndexFunc(fieldNames[:], func(n string) bool { return n == string(name) })
	if i < 0 {
		return nil
	}
	if q.given&(1<<i) != 0 {
		return fmt.Errorf("%s is given twice", name)
	}
	q.given |= 1 << i
	var why string
	if i == fieldTS {
		if q.TS, why = parseTS(v, q.now); why != "" {
			q.refused[i] = code.Errorf(code.BadTime, "ts %s", why)
		}
		return nil
	}
	if *q.Fields()[i], why = parseField(v, i); why != "" {
		c := code.BadField
		if i == 0 {
			c = code.BadPrice
		}
		q.refused[i] = code.Errorf(c, "%s %s", name, why)
	}
	return nil
}

func (q *quoteReader) end() (Quote, error) {
	for _, e := range q.refused {
		if e != nil {
			return Quote{}, e
		}
	}
	if !q.Price.Given() {
		return Quote{}, code.Errorf(code.BadPrice, `price is missing: a decimal above 0, e.g. {"price":"64123.51"}`)
	}
	if q.TS == 0 {
		q.TS = q.now.UnixMicro()
	}
	return q.Quote, nil
}

// fieldNames are Names and "ts", the fields that are read.
var fieldNames = [Decimals + 1]string(append(Names[:], "ts"))

const fieldTS = Decimals

// mustBePositive are the fields that name a price; sizes and volumes may be 0.
func mustBePositive(field int) bool {
	n := Names[field]
	return n != "volume" && n != "size" && n != "bid_size" && n != "ask_size"
}

func parseField(v value, field int) (d Decimal, why string) {
	if v.why != "" {
		return 0, v.why
	}
	d, err := ParseDecimal(v.text)
	switch {
	case err != nil:
		return 0, fmt.Sprintf("%s: %v", code.Quote(v.text), err)
	case mustBePositive(field) && !d.Positive():
		return 0, fmt.Sprintf("%s: must be above 0", code.Quote(v.text))
	}
	return d, ""
}

func parseTS(v value, now time.Time) (ts int64, why string) {
	if v.why != "" {
		return 0, v.why
	}
	ts, err := strconv.ParseInt(string(v.text), 10, 64)
	switch {
	case err != nil || ts <= 0:
		return 0, fmt.Sprintf("%s: an integer above 0, microseconds since 1970 UTC", code.Quote(v.text))
	case ts > now.Add(MaxAhead).UnixMicro():
		return 0, fmt.Sprintf("%d is %s ahead of ingest's clock: at most %s (microseconds since 1970 UTC)",
			ts, time.UnixMicro(ts).Sub(now).Round(time.Second), MaxAhead)
	}
	return ts, ""
}

func (q *quoteReader) json(p []byte) error {
	err := object.Each(p, func(name, raw []byte) error {
		switch raw[0] {
		case 'n': // null: not given
			return nil
		case '"':
			s, err := object.Unquote(raw)
			if err != nil {
				return err
			}
			return q.field(name, value{text: s, why: quotedTS(name, s)})
		case '{', '[', 't', 'f':
			return q.field(name, value{why: code.Quote(raw) + ": a string or a number"})
		}
		return q.field(name, value{text: raw})
	})
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("not JSON: %w", err)
	}
	return err
}

func (q *quoteReader) msgpack(p []byte) error {
	r := wire.NewReader(p)
	for range r.Map() {
		name := r.Str()
		if r.Nil() {
			continue
		}
		var v value
		switch r.Type() {
		case wire.TypeStr:
			s := r.Str()
			v = value{text: s, why: quotedTS(name, s)}
		case wire.TypeInt:
			v.text = appendInt(nil, &r)
		case wire.TypeFloat:
			r.Skip()
			v.why = "is a float, which is not exact: a string or an integer"
		default:
			r.Skip()
			v.why = "has a wrong type: a string or an integer"
		}
		if r.Err() != nil {
			break
		}
		if err := q.field(name, v); err != nil {
			return err
		}
	}
	r.End(0)
	if r.Err() != nil {
		return fmt.Errorf("not a MessagePack map with string keys: %w", r.Err())
	}
	return nil
}

// appendInt reads an integer as text: one below 0 is refused with its value, one above 2^63 may still be a price.
func appendInt(b []byte, r *wire.Reader) []byte {
	if h := r.Peek(); h >= 0xd0 {
		return strconv.AppendInt(b, r.Int(), 10)
	}
	return strconv.AppendUint(b, r.Uint(), 10)
}

// quotedTS says why a string is no ts. Prices are strings or numbers, a time is a number only.
func quotedTS(name, s []byte) string {
	if string(name) != fieldNames[fieldTS] {
		return ""
	}
	return code.Quote(s) + " as a string: an integer, microseconds since 1970 UTC"
}
