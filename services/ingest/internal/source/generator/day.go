package generator

import (
	"math"
	"math/rand/v2"
	"time"
)

const hours = 24

// maxVolume keeps the sum of a day within a decimal's digits.
const maxVolume = 10_000_000_000_000_000

// day is the last 24 hours, hour by hour, in a pair's steps. So its figures roll: what is older than a day leaves them.
type day struct {
	now   int64 // the hour since 1970 that is filled
	hours [hours]hour
}

type hour struct {
	open, high, low, volume uint64
}

// newDay makes up the day that led to a price, from the back.
func newDay(rng *rand.Rand, price uint64, vol, perHour float64, now time.Time) day {
	d := day{now: hourOf(now)}
	shift := func(n uint64, by float64) uint64 {
		return uint64(min(max(float64(n)*(1+by), 1), maxSteps))
	}
	width := vol * 1e-6 * 60 // of an hour: the root of 3,600 seconds
	last := price
	for i := range int64(hours) {
		h := hour{open: shift(last, rng.NormFloat64()*width)}
		h.high = shift(max(h.open, last), math.Abs(rng.NormFloat64())*width/2)
		h.low = min(shift(min(h.open, last), -math.Abs(rng.NormFloat64())*width/2), h.open, last)
		h.high = max(h.high, h.open, last)
		h.volume = uint64(min(max(perHour*math.Exp(rng.NormFloat64()*0.3), 0), maxVolume/hours))
		*d.at(d.now - i) = h
		last = h.open
	}
	return d
}

func hourOf(t time.Time) int64 { return t.Unix() / 3600 }

func (d *day) at(h int64) *hour { return &d.hours[((h%hours)+hours)%hours] }

// add counts a trade in.
func (d *day) add(now time.Time, price, size uint64) {
	for h := hourOf(now); d.now < h; {
		if h-d.now > hours {
			d.now = h - hours // nothing older stays
		}
		d.now++
		*d.at(d.now) = hour{open: price, high: price, low: price}
	}
	h := d.at(d.now)
	h.high, h.low = max(h.high, price), min(h.low, price)
	h.volume = min(h.volume+size, maxVolume/hours)
}

// figures are those of a ticker: the price 24 hours ago, the highest, the lowest, and what was traded.
func (d *day) figures() (open, high, low, volume uint64) {
	oldest := d.at(d.now + 1)
	open, high, low = oldest.open, oldest.high, oldest.low
	for i := range d.hours {
		h := &d.hours[i]
		high, low, volume = max(high, h.high), min(low, h.low), volume+h.volume
	}
	return open, high, low, volume
}
