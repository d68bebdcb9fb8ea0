package session

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

// Decoder is a client's side of Compact for one connection: which symbol a number stands for, and its last tick, which
// the changed form needs. It holds at most MaxSymbols of them. After an error it does not know where it stands, and the
// connection has to be made again. The zero Decoder is ready for a new connection; it is for one goroutine.
type Decoder struct {
	symbols map[uint32]*decoded
	numbers map[subject.Symbol]uint32
}

// decoded is what is known of one number.
type decoded struct {
	last   tick.Tick // no Epoch: no tick yet since the symbol was subscribed
	digits Digits
}

// Subscribed takes note of the numbers in a "subscribed": each of its symbols begins anew, with a full form.
func (d *Decoder) Subscribed(m *Message) error {
	if len(m.Numbers) != len(m.Symbols) {
		return fmt.Errorf("read subscribed: %d numbers for %d symbols", len(m.Numbers), len(m.Symbols))
	}
	if d.symbols == nil {
		d.symbols, d.numbers = map[uint32]*decoded{}, map[subject.Symbol]uint32{}
	}
	for i, s := range m.Symbols {
		n := m.Numbers[i]
		d.forget(s)
		switch other := d.symbols[n]; {
		case n == 0:
			return fmt.Errorf("read subscribed: %s has number 0", s)
		case other != nil:
			return fmt.Errorf("read subscribed: %s and %s both have number %d", other.last.Symbol, s, n)
		case len(d.symbols) >= MaxSymbols:
			return fmt.Errorf("read subscribed: more than %d symbols", MaxSymbols)
		}
		d.symbols[n] = &decoded{last: tick.Tick{Symbol: s}}
		d.numbers[s] = n
	}
	return nil
}

// Unsubscribed forgets the symbols in an "unsubscribed".
func (d *Decoder) Unsubscribed(m *Message) {
	for _, s := range m.Symbols {
		d.forget(s)
	}
}

func (d *Decoder) forget(s subject.Symbol) {
	if n, ok := d.numbers[s]; ok {
		delete(d.numbers, s)
		delete(d.symbols, n)
	}
}

// Next reads the first tick of p, of a message for which IsTicks holds, and gives what follows it, which is to be read
// next unless it is empty. The tick is the Decoder's: it is good until the symbol's next.
func (d *Decoder) Next(p []byte) (t *tick.Tick, rest []byte, err error) {
	r := varReader{p: p}
	var k *decoded
	if tag := r.byte(); tag == tagFull {
		if k, err = d.find(r.uvarint()); err == nil {
			err = k.full(&r)
		}
	} else if k, err = d.find(r.number(tag)); err == nil {
		err = k.changed(&r)
	}
	if r.short { // then what was read is not what was sent
		err = errShort
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read tick: %w", err)
	}
	return &k.last, r.p, nil
}

var (
	errShort   = errors.New("it ends early, or a number in it is above 64 bits")
	errMask    = errors.New("unknown fields in its mask")
	errValue   = errors.New("a value is out of range")
	errNoPrice = errors.New("no position, or no price above 0")
)

func (d *Decoder) find(number uint64) (*decoded, error) {
	if number <= MaxNumber {
		if k := d.symbols[uint32(number)]; k != nil {
			return k, nil
		}
	}
	return nil, fmt.Errorf("number %d is of no subscribed symbol", number)
}

func (k *decoded) full(r *varReader) error {
	t := tick.Tick{Symbol: k.last.Symbol}
	t.Epoch, t.Seq = r.uvarint(), r.uvarint()
	n := int(r.byte())
	if n > timeScale {
		return errValue
	}
	digits := Digits(0).with(digitsTime, n)
	if !setTime(&t, r.varint(), n) {
		return errValue
	}
	mask := r.uvarint()
	if mask >= maskSeq {
		return errMask
	}
	for fields := t.Fields(); mask != 0; mask &= mask - 1 {
		i := bits.TrailingZeros64(mask)
		b := int(r.byte())
		scale, n := b>>4-1, b&15
		if n > tick.MaxFraction {
			return errValue
		}
		digits = digits.with(i, n)
		if scale < 0 {
			continue
		}
		if !setUnits(fields[i], r.uvarint(), n, scale) {
			return errValue
		}
	}
	return k.keep(&t, digits, r)
}

func (k *decoded) changed(r *varReader) error {
	t := k.last
	if t.Epoch == 0 {
		return fmt.Errorf("changed form of %s without a full one before it", t.Symbol)
	}
	mask := r.uvarint()
	if mask >= maskScales<<1 {
		return errMask
	}
	var scales [tick.Decimals]int // + 1, where they change
	changed := mask & (maskSeq - 1)
	if mask&maskScales != 0 {
		fields := r.uvarint()
		if fields >= maskSeq {
			return errMask
		}
		changed |= fields
		for ; fields != 0; fields &= fields - 1 {
			i := bits.TrailingZeros64(fields)
			switch b := int(r.byte()); {
			case b > 0:
				scales[i] = b
			case mask&(1<<i) != 0:
				return errValue
			default:
				*t.Fields()[i] = 0
				changed &^= 1 << i
			}
		}
	}
	step := uint64(1)
	if mask&maskSeq != 0 {
		step = r.uvarint()
	}
	if t.Seq+step <= t.Seq {
		return errValue
	}
	t.Seq += step
	n := k.digits.at(digitsTime)
	if !setTime(&t, t.TS/int64(pow10[timeScale-n])+r.varint(), n) {
		return errValue
	}
	for fields := t.Fields(); changed != 0; changed &= changed - 1 {
		i := bits.TrailingZeros64(changed)
		d, n := fields[i], k.digits.at(i)
		var value int64
		if d.Given() {
			value = units(*d, n)
		}
		if mask&(1<<i) != 0 {
			value += r.varint()
		}
		scale := scaleOf(*d)
		if scales[i] > 0 {
			scale = scales[i]
		}
		if value < 0 || scale == 0 || !setUnits(d, uint64(value), n, scale-1) {
			return errValue
		}
	}
	return k.keep(&t, k.digits, r)
}

// keep makes t the last tick, if it is one.
func (k *decoded) keep(t *tick.Tick, g Digits, r *varReader) error {
	if r.short {
		return errShort
	}
	if t.Epoch == 0 || t.Seq == 0 || !t.Price.Positive() {
		return errNoPrice
	}
	k.last, k.digits = *t, g
	return nil
}

// setUnits makes d value in units of n digits after the point, written with scale digits; false if that is no decimal.
func setUnits(d *tick.Decimal, value uint64, n, scale int) bool {
	if scale > tick.MaxFraction || value > maxUnits {
		return false
	}
	if scale >= n {
		if value > maxUnits/pow10[scale-n] {
			return false
		}
		value *= pow10[scale-n]
	} else if unit := pow10[n-scale]; value%unit != 0 {
		return false
	} else {
		value /= unit
	}
	if value >= maxCoef {
		return false
	}
	*d = tick.NewDecimal(value, scale)
	return true
}

const maxCoef = 1e18 // 10^tick.MaxDigits

// setTime makes t's time value in units of n digits after the second.
func setTime(t *tick.Tick, value int64, n int) bool {
	unit := int64(pow10[timeScale-n])
	t.TS = value * unit
	return t.TS/unit == value
}

// varReader takes numbers off p. At its end it gives zeros and says short.
type varReader struct {
	p     []byte
	short bool
}

func (r *varReader) byte() byte {
	if len(r.p) == 0 {
		r.short = true
		return 0
	}
	b := r.p[0]
	r.p = r.p[1:]
	return b
}

func (r *varReader) uvarint() uint64 {
	if len(r.p) > 0 && r.p[0] < 0x80 {
		return uint64(r.byte())
	}
	v, n := binary.Uvarint(r.p)
	if n <= 0 {
		r.p, r.short = nil, true
		return 0
	}
	r.p = r.p[n:]
	return v
}

func (r *varReader) varint() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// number reads the rest of a number whose first byte is tag.
func (r *varReader) number(tag byte) uint64 {
	switch {
	case tag < 0x80:
		return uint64(tag)
	case tag >= tagPair && tag < tagPair+0x20:
		return uint64(tag-tagPair)<<8 | uint64(r.byte())
	case tag == tagNumber:
		return r.uvarint()
	}
	return 0 // which no symbol has
}
