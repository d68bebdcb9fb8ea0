package generator

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/tickfan/tickfan/proto/tick"
)

// The rhythm of a pair: calm, with bursts of some seconds in which it trades several times as fast and moves further.
// The two rates average to the pair's.
const (
	calmRate  = 0.8
	burstRate = 3.0
	calmFor   = 22.0 // seconds, on average
	burstFor  = 2.2
	burstVol  = 1.6

	still   = 0.3  // share of ticks at the price of the one before, as on a real exchange
	pullFor = 1800 // seconds in which the price tends back to its anchor, so that it never wanders off for good
)

// Prices are kept between these numbers of steps: enough for a percent to be several of them, and so few that a
// moving price never runs out of digits.
const (
	minSteps = 1_000
	maxSteps = 100_000_000_000_000
)

// notional is the value of a usual trade, in the quote currency.
const notional = 900

// pair is one symbol's market.
type pair struct {
	spec
	rng   *rand.Rand // its own, so that an outside price changes no other pair
	next  time.Time
	last  time.Time // of the tick before
	burst time.Time // end of the burst

	scale  int    // digits after the point
	price  uint64 // in steps of 10^-scale
	anchor uint64

	sizeScale int
	size      float64 // usual size of a trade, in steps of 10^-sizeScale
	day       day
}

func newPair(s spec, seed, stream uint64, now time.Time) *pair {
	p := &pair{spec: s, rng: rand.New(rand.NewPCG(seed, stream)), last: now}
	p.place(tick.MustDecimal(s.start), now)
	p.next = now.Add(p.wait(p.rate))
	return p
}

// place sets the price, and makes up the day before it.
func (p *pair) place(price tick.Decimal, now time.Time) {
	p.price, p.scale = steps(price, tick.MustDecimal(p.start).Scale())
	p.anchor = p.price
	units := notional / (float64(p.price) / math.Pow10(p.scale))
	switch {
	case units < 1:
		p.sizeScale = 8
	case units < 100:
		p.sizeScale = 6
	case units < 10_000:
		p.sizeScale = 3
	default:
		p.sizeScale = 0
	}
	p.size = min(max(units*math.Pow10(p.sizeScale), 1), 1e9)
	p.day = newDay(p.rng, p.price, p.vol, p.size*p.rate*3600, now)
}

// outside takes over a price from elsewhere.
func (p *pair) outside(price tick.Decimal, now time.Time) {
	p.next = now.Add(Quiet + p.wait(p.rate))
	n, scale := steps(price, tick.MustDecimal(p.start).Scale())
	if scale != p.scale {
		p.place(price, now) // the day's figures in other steps would say nothing
		return
	}
	p.price, p.anchor = n, n
	p.day.add(now, n, 0)
}

// steps is a price in steps of 10^-scale: the pair's own scale, unless the price would then be too few or too many
// of them.
func steps(price tick.Decimal, scale int) (uint64, int) {
	n := price.Coef()
	for s := price.Scale(); s > scale && n > minSteps*10; s-- {
		n = (n + 5) / 10
		price = tick.NewDecimal(n, s-1)
	}
	s := price.Scale()
	for (s < scale || n < minSteps) && s < tick.MaxFraction && n < maxSteps/10 {
		n, s = n*10, s+1
	}
	for n > maxSteps && s > 0 {
		n, s = (n+5)/10, s-1
	}
	return min(max(n, 1), maxSteps), s
}

// trade makes up the tick at p.next and sets the time of the one after it.
func (p *pair) trade() tick.Quote {
	now := p.next
	gap := now.Sub(p.last).Seconds()
	p.last = now
	bursting := now.Before(p.burst)
	if !bursting && p.rng.Float64() < 1/(calmFor*p.rate*calmRate) {
		p.burst = now.Add(seconds(p.rng.ExpFloat64() * burstFor))
		bursting = true
	}
	rate, vol := p.rate*calmRate, p.vol
	if bursting {
		rate, vol = p.rate*burstRate, p.vol*burstVol
	}
	p.next = now.Add(p.wait(rate))

	rising := p.move(vol*1e-6/math.Sqrt(rate), gap)
	size := p.amount(p.size)
	p.day.add(now, p.price, size)
	return p.quote(now, size, rising)
}

// move walks the price by dice of the given width (as a part of the price) and tells whether a buyer moved it.
func (p *pair) move(width, gap float64) (buyer bool) {
	if p.rng.Float64() < still {
		return p.rng.Float64() < 0.5
	}
	drive := p.rng.NormFloat64()*width*float64(p.price) +
		(float64(p.anchor)-float64(p.price))*min(gap/pullFor, 1)
	d := int64(math.Floor(drive + p.rng.Float64())) // dice the fraction, or a price of few steps would never move
	d = min(max(d, -int64(p.price/20)), int64(p.price/20))
	p.price = min(max(uint64(int64(p.price)+d), 2), maxSteps)
	if d == 0 {
		return p.rng.Float64() < 0.5
	}
	return d > 0
}

// quote writes the tick down: a buyer trades at the ask, a seller at the bid.
func (p *pair) quote(now time.Time, size uint64, buyer bool) tick.Quote {
	spread := uint64(p.spread)
	for p.rng.Float64() < 0.25 {
		spread++
	}
	bid, ask := p.price, p.price+spread
	if buyer {
		bid, ask = p.price-min(spread, p.price-1), p.price
	}
	open, high, low, volume := p.day.figures()
	price := func(n uint64) tick.Decimal { return tick.NewDecimal(n, p.scale) }
	amount := func(n uint64) tick.Decimal { return tick.NewDecimal(n, p.sizeScale) }
	return tick.Quote{
		Price: price(p.price), Bid: price(bid), Ask: price(ask),
		Size: amount(size), BidSize: amount(p.amount(p.size * 3)), AskSize: amount(p.amount(p.size * 3)),
		Open: price(open), High: price(high), Low: price(low), Volume: amount(volume),
		TS: now.UnixMicro(),
	}
}

// amount dices an amount around a usual one: most are smaller, some much larger.
func (p *pair) amount(usual float64) uint64 {
	return uint64(min(max(usual*math.Exp(p.rng.NormFloat64()*1.2-0.7), 1), 1e12))
}

// wait dices the time to the next tick.
func (p *pair) wait(rate float64) time.Duration { return seconds(p.rng.ExpFloat64() / rate) }

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
