package tick

import (
	"errors"
	"fmt"

	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/wire"
)

// Quote is what a source says of a symbol. Price is always given; the rest where the source has it.
type Quote struct {
	Price   Decimal // last traded or published price
	Bid     Decimal // best bid
	Ask     Decimal // best ask
	Size    Decimal // size of the last trade
	BidSize Decimal // size at the best bid
	AskSize Decimal // size at the best ask
	Open    Decimal // price 24 hours ago
	High    Decimal // highest of the last 24 hours
	Low     Decimal // lowest of the last 24 hours
	Volume  Decimal // traded in the last 24 hours, in the base currency
	TS      int64   // microseconds since 1970 UTC, the publisher's clock, or ingest's where he gave none
}

// Decimals is the number of decimal fields of a Quote.
const Decimals = 10

// Names are the names of a Quote's decimals in every text and MessagePack form, in the order of Fields.
var Names = [Decimals]string{"price", "bid", "ask", "size", "bid_size", "ask_size", "open", "high", "low", "volume"}

// Fields gives the decimals in the order of Names.
func (q *Quote) Fields() [Decimals]*Decimal {
	return [Decimals]*Decimal{&q.Price, &q.Bid, &q.Ask, &q.Size, &q.BidSize, &q.AskSize, &q.Open, &q.High, &q.Low, &q.Volume}
}

// Position is a tick's place in its symbol's order: epochs first, then seq within an epoch. The zero Position is
// before every tick.
type Position struct {
	Epoch uint64 // one term of one active ingest; above all earlier ones
	Seq   uint64 // counts up from 1 per symbol within an epoch
}

// After tells whether p comes after q.
func (p Position) After(q Position) bool {
	return p.Epoch > q.Epoch || p.Epoch == q.Epoch && p.Seq > q.Seq
}

// Tick is a Quote that ingest stamped. Whoever keeps ticks drops one whose Position is not after the last.
type Tick struct {
	Symbol subject.Symbol
	Position
	Prev  Position // on a symbol's first tick of an epoch: the last Position known before it, if any
	At    int64    // when ingest stamped it, microseconds since 1970 UTC, ingest's clock
	Again bool     // published before under the same Position
	Quote
}

// flagAgain is a bit of a tick's flags on the wire.
const flagAgain = 1

// tickHead is the number of elements before the decimals.
const tickHead = 9

// Append appends t as it travels on ticks.<symbol> and inside a batch:
//
//	[1, symbol, epoch, seq, at, ts, flags, prev epoch, prev seq, price, bid, ask, size, bid_size, ask_size, open,
//	 high, low, volume]
//
// Decimals are strings, nil where not given; nils at the end are left out. Decoders ignore further elements.
func (t *Tick) Append(b []byte) []byte {
	f := t.Fields()
	n := len(f)
	for n > 0 && !f[n-1].Given() {
		n--
	}
	b = wire.AppendArray(b, tickHead+n)
	b = wire.AppendUint(b, uint64(wire.KindTick))
	b = wire.AppendStr(b, t.Symbol)
	b = wire.AppendUint(b, t.Epoch)
	b = wire.AppendUint(b, t.Seq)
	b = wire.AppendInt(b, t.At)
	b = wire.AppendInt(b, t.TS)
	var flags uint64
	if t.Again {
		flags |= flagAgain
	}
	b = wire.AppendUint(b, flags)
	b = wire.AppendUint(b, t.Prev.Epoch)
	b = wire.AppendUint(b, t.Prev.Seq)
	for _, d := range f[:n] {
		if !d.Given() {
			b = wire.AppendNil(b)
			continue
		}
		b = d.AppendMsgpack(b)
	}
	return b
}

// Decode reads what Append wrote. It keeps nothing of p.
func Decode(p []byte) (Tick, error) {
	r := wire.NewReader(p)
	t := readTick(&r)
	if err := r.Err(); err != nil {
		return Tick{}, fmt.Errorf("decode tick: %w", err)
	}
	return t, nil
}

// Head is what routing needs of a tick: who it is and where it stands. Symbol points into the payload.
type Head struct {
	Symbol []byte
	Position
	Prev  Position
	At    int64
	Again bool
}

// DecodeHead reads a tick's head and checks its end, without its decimals.
func DecodeHead(p []byte) (Head, error) {
	r := wire.NewReader(p)
	h, n := readHead(&r)
	r.End(n)
	if err := r.Err(); err != nil {
		return Head{}, fmt.Errorf("decode tick: %w", err)
	}
	return h.Head, nil
}

type head struct {
	Head
	ts int64
}

func readHead(r *wire.Reader) (h head, left int) {
	left = r.Kind(wire.KindTick, tickHead+1) + 1 // a price is always there
	h.Symbol = r.Str()
	h.Epoch, h.Seq = r.Uint(), r.Uint()
	h.At, h.ts = r.Int(), r.Int()
	h.Again = r.Uint()&flagAgain != 0
	h.Prev = Position{r.Uint(), r.Uint()}
	if r.Err() == nil && !subject.ValidSymbol(h.Symbol) {
		r.Fail(fmt.Errorf("symbol %.40q", h.Symbol))
	}
	if r.Err() == nil && (h.Epoch == 0 || h.Seq == 0) {
		r.Fail(fmt.Errorf("position %d/%d", h.Epoch, h.Seq))
	}
	return h, left
}

func readTick(r *wire.Reader) (t Tick) {
	h, n := readHead(r)
	if r.Err() != nil {
		return t
	}
	t = Tick{Symbol: subject.Symbol(h.Symbol), Position: h.Position, Prev: h.Prev, At: h.At, Again: h.Again}
	t.TS = h.ts
	f := t.Fields()
	for i := range min(n, len(f)) {
		if r.Nil() {
			continue
		}
		s := r.Str()
		if r.Err() != nil {
			return t
		}
		d, err := ParseDecimal(s)
		if err != nil {
			r.Fail(fmt.Errorf("%s: %w", Names[i], err))
		}
		*f[i] = d
	}
	if r.Err() == nil && !t.Price.Positive() {
		r.Fail(errors.New("no price above 0"))
	}
	r.End(n - min(n, len(f)))
	return t
}
