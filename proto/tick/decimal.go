package tick

import (
	"errors"
	"strconv"
)

// Decimal is an exact decimal that is not negative: at most 18 digits, at most 12 of them after the point. It keeps
// its text: "62975.90" stays "62975.90". The zero Decimal means "not given" and is not the number 0.
//
// It is packed into one word, coefficient<<4 | digits after the point + 1, because a table of millions of ticks
// with ten decimals each should cost 80 bytes a tick, be comparable and hold no pointer for the garbage collector.
// 10^18 < 2^60, so both fit.
type Decimal uint64

// Limits of a Decimal.
const (
	MaxDigits   = 18 // in all, a leading "0" before the point included
	MaxFraction = 12 // after the point
)

// Errors of ParseDecimal, worded to follow a field's name.
var (
	ErrNotDecimal = errors.New("not a decimal (digits, at most one point between digits, no sign, no exponent)")
	ErrTooLong    = errors.New("more than 18 digits, or more than 12 after the point")
)

// ParseDecimal reads digits with at most one point between them, e.g. "0.00012" or "64123.51". A leading zero stands
// alone before the point ("0.5", not "00.5" nor ".5").
func ParseDecimal[T ~string | ~[]byte](s T) (Decimal, error) {
	var coef uint64
	digits, point := 0, -1
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			if digits++; digits <= MaxDigits {
				coef = coef*10 + uint64(c-'0')
			}
		case c == '.' && point < 0 && i > 0:
			point = i
		default:
			return 0, ErrNotDecimal
		}
	}
	scale := 0
	if point >= 0 {
		scale = len(s) - point - 1
	}
	switch {
	case digits == 0, point >= 0 && scale == 0:
		return 0, ErrNotDecimal
	case len(s) > 1 && s[0] == '0' && point != 1:
		return 0, ErrNotDecimal
	case digits > MaxDigits, scale > MaxFraction:
		return 0, ErrTooLong
	}
	return Decimal(coef<<4 | uint64(scale+1)), nil
}

// NewDecimal is coef / 10^scale. It panics when the value does not fit: it is for values that the program computes.
func NewDecimal(coef uint64, scale int) Decimal {
	if coef >= 1e18 || scale < 0 || scale > MaxFraction {
		panic("tick: decimal out of range")
	}
	return Decimal(coef<<4 | uint64(scale+1))
}

// MustDecimal is ParseDecimal for constants; it panics on an error.
func MustDecimal(s string) Decimal {
	d, err := ParseDecimal(s)
	if err != nil {
		panic("tick: " + s + ": " + err.Error())
	}
	return d
}

// Given tells whether there is a value.
func (d Decimal) Given() bool { return d != 0 }

// Positive tells whether there is a value and it is above 0.
func (d Decimal) Positive() bool { return d>>4 != 0 }

// Coef is the value without its point; the value is Coef / 10^Scale.
func (d Decimal) Coef() uint64 { return uint64(d >> 4) }

// Scale is the number of digits after the point, 0 to 12.
func (d Decimal) Scale() int {
	if d == 0 {
		return 0
	}
	return int(d&15) - 1
}

// Append appends the text. A Decimal that is not given appends nothing.
func (d Decimal) Append(b []byte) []byte {
	if d == 0 {
		return b
	}
	scale := d.Scale()
	if scale == 0 {
		return strconv.AppendUint(b, d.Coef(), 10)
	}
	var buf [MaxDigits + 4]byte
	p := strconv.AppendUint(buf[:0], d.Coef(), 10)
	if n := scale + 1 - len(p); n > 0 {
		return append(append(b, "0.000000000000"[:n+1]...), p...)
	}
	b = append(b, p[:len(p)-scale]...)
	b = append(b, '.')
	return append(b, p[len(p)-scale:]...)
}

// AppendMsgpack appends the text as a MessagePack string: the text in place, then its length before it, which is one
// byte since the text has at most 19.
func (d Decimal) AppendMsgpack(b []byte) []byte {
	at := len(b)
	b = d.Append(append(b, 0))
	b[at] = 0xa0 | byte(len(b)-at-1)
	return b
}

func (d Decimal) String() string {
	var buf [MaxDigits + 4]byte
	return string(d.Append(buf[:0]))
}

// MarshalText gives the text; in JSON a Decimal is a string.
func (d Decimal) MarshalText() ([]byte, error) { return d.Append(nil), nil }

// UnmarshalText reads the text; empty is "not given".
func (d *Decimal) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*d = 0
		return nil
	}
	*d, err = ParseDecimal(b)
	return err
}
