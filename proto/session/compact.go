package session

import (
	"encoding/binary"
	"math/bits"

	"github.com/tickfan/tickfan/proto/tick"
)

// Ticks in tickfan.v1.compact. A binary frame that does not begin with a map holds one or more of them, one after the
// other, each in one of two forms. A uvarint is an unsigned LEB128, as in Protocol Buffers; a varint is a uvarint of the
// zigzag of a signed number.
//
//	full     0xc1 | number uvarint | epoch uvarint | seq uvarint | time digits, 1 byte | time varint | fields uvarint |
//	         per field: scale + 1 and digits, 1 byte, then value uvarint unless the scale + 1 is 0
//	changed  number | mask uvarint |
//	         if maskScales: fields uvarint, per field: scale + 1, 1 byte
//	         if maskSeq: step of seq, uvarint
//	         time difference varint | per field in the mask: difference of value varint
//
//	number of the changed form:  0x00-0x7f                   0 to 127
//	                             0xa0-0xbf, 1 byte           0 to 8191, big-endian
//	                             0xc0, uvarint               any
//
// Bytes a tick (median, mean) on recorded traffic, each tick sent, and what else was tried:
//
//	                         Binance 2024   Coinbase 2026   Kraken book
//	this                      6    6.40     18   18.97       9   9.15
//	MessagePack's integers    8    7.35     24   24.21      11  10.63
//	coefficients' difference  8    8.35     19   18.88       9   9.14
//	size as value, no diff.   6    6.35     18   18.55       9   9.16
//	tickfan.v1.msgpack      169  168.41    207  206.38     132 131.81
//	tickfan.v1.json         224  222.86    277  276.41     182 181.46
//
// Why units: a price of 61837.63000000 that rises by a cent would rise by 1,000,000. Counted in units of the smallest digit
// that the symbol's ticks have made use of it is 6183763 hundredths, and up 1.
const (
	tagFull     = 0xc1 // never used in MessagePack
	tagNumber   = 0xc0 // MessagePack's nil
	tagPair     = 0xa0 // up to 0xbf: MessagePack's short strings
	pairNumbers = 0x2000

	maskSeq    = 1 << tick.Decimals // above the fields' bits
	maskScales = 1 << (tick.Decimals + 1)
)

// MaxNumber is the highest number of a symbol in Compact; the lowest is 1.
const MaxNumber = 1<<32 - 1

// IsTicks tells a message of Compact that holds ticks, which a Decoder reads, from one that is a map like those of
// MessagePack.
func IsTicks(p []byte) bool {
	return len(p) > 0 && !(p[0]&0xf0 == 0x80 || p[0] == 0xde || p[0] == 0xdf)
}

// Digits says how many digits after the point the values of a symbol's ticks have made use of: 4 bits a decimal, in the
// order of tick.Names, then 4 for the time in seconds. Values are sent as whole numbers of the unit that follows from it.
// Trailing zeros make use of nothing.
type Digits uint64

const (
	digitsTime = tick.Decimals // the time's place in Digits
	timeScale  = 6             // a ts is microseconds
)

func (g Digits) at(i int) int { return int(g>>(4*i)) & 15 }

func (g Digits) with(i, n int) Digits { return g&^(15<<(4*i)) | Digits(n)<<(4*i) }

var pow10 = [...]uint64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12}

// maxUnits bounds a value in units, so that differences fit an int64.
const maxUnits = 1 << 62

// Cover gives the digits that t needs, which are g unless t uses more. A field of which g would make a number too large
// has only what it uses itself; so the result need not be above g.
func (g Digits) Cover(t *tick.Tick) Digits {
	for i, d := range t.Fields() {
		if !d.Given() {
			continue
		}
		n, scale := g.at(i), d.Scale()
		if scale > n && d.Coef()%pow10[scale-n] != 0 || scale < n && d.Coef() > maxUnits/pow10[n-scale] {
			g = g.with(i, used(d.Coef(), scale))
		}
	}
	if n := g.at(digitsTime); t.TS%int64(pow10[timeScale-n]) != 0 {
		g = g.with(digitsTime, used(uint64(max(t.TS, -t.TS)), timeScale))
	}
	return g
}

// used is scale without the trailing zeros of coef.
func used(coef uint64, scale int) int {
	for scale > 0 && coef%10 == 0 {
		coef /= 10
		scale--
	}
	return scale
}

// units is d counted in units of n digits after the point, exact if Digits covers d.
func units(d tick.Decimal, n int) int64 {
	if s := d.Scale(); s > n {
		return int64(d.Coef() / pow10[s-n])
	} else {
		return int64(d.Coef() * pow10[n-s])
	}
}

// AppendFull appends the full form of t. g must cover t.
func AppendFull(dst []byte, number uint32, t *tick.Tick, g Digits) []byte {
	dst = binary.AppendUvarint(append(dst, tagFull), uint64(number))
	dst = binary.AppendUvarint(dst, t.Epoch)
	dst = binary.AppendUvarint(dst, t.Seq)
	n := g.at(digitsTime)
	dst = append(dst, byte(n))
	dst = binary.AppendVarint(dst, t.TS/int64(pow10[timeScale-n]))
	fields := t.Fields()
	mask := uint64(0)
	for i, d := range fields {
		if d.Given() || g.at(i) > 0 { // of a field that is not given the digits count when it comes
			mask |= 1 << i
		}
	}
	dst = binary.AppendUvarint(dst, mask)
	for ; mask != 0; mask &= mask - 1 {
		i := bits.TrailingZeros64(mask)
		dst = append(dst, byte(scaleOf(*fields[i])<<4|g.at(i)))
		if fields[i].Given() {
			dst = binary.AppendUvarint(dst, uint64(units(*fields[i], g.at(i))))
		}
	}
	return dst
}

// scaleOf is how a scale is sent: + 1, and 0 for a field that is not given.
func scaleOf(d tick.Decimal) int {
	if !d.Given() {
		return 0
	}
	return d.Scale() + 1
}

// Follows tells whether t can be sent in changed form to who has before.
func Follows(before, t *tick.Tick) bool { return t.Epoch == before.Epoch && t.Seq > before.Seq }

// AppendChanged appends the changed form of t for who was sent before last. Follows(before, t) must hold, g must cover
// both and be what before was sent with.
func AppendChanged(dst []byte, number uint32, before, t *tick.Tick, g Digits) []byte {
	switch {
	case number < 0x80:
		dst = append(dst, byte(number))
	case number < pairNumbers:
		dst = append(dst, tagPair|byte(number>>8), byte(number))
	default:
		dst = binary.AppendUvarint(append(dst, tagNumber), uint64(number))
	}
	mask, scales := uint64(0), uint64(0)
	var diff [tick.Decimals]int64
	was, is := before.Fields(), t.Fields()
	for i := range is {
		if *is[i] == *was[i] {
			continue
		}
		if scaleOf(*is[i]) != scaleOf(*was[i]) {
			scales |= 1 << i
		}
		if is[i].Given() {
			if diff[i] = units(*is[i], g.at(i)) - units(*was[i], g.at(i)); diff[i] != 0 {
				mask |= 1 << i
			}
		}
	}
	fields := mask
	if step := t.Seq - before.Seq; step != 1 {
		mask |= maskSeq
	}
	if scales != 0 {
		mask |= maskScales
	}
	dst = binary.AppendUvarint(dst, mask)
	if scales != 0 {
		dst = binary.AppendUvarint(dst, scales)
		for ; scales != 0; scales &= scales - 1 {
			dst = append(dst, byte(scaleOf(*is[bits.TrailingZeros64(scales)])))
		}
	}
	if mask&maskSeq != 0 {
		dst = binary.AppendUvarint(dst, t.Seq-before.Seq)
	}
	unit := int64(pow10[timeScale-g.at(digitsTime)])
	dst = binary.AppendVarint(dst, t.TS/unit-before.TS/unit)
	for ; fields != 0; fields &= fields - 1 {
		dst = binary.AppendVarint(dst, diff[bits.TrailingZeros64(fields)])
	}
	return dst
}
