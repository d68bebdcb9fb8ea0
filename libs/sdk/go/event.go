package tickfan

import (
	"time"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/tick"
)

// Decimal is an exact decimal; String gives it digit by digit as it was published. The zero Decimal means "not given".
type Decimal = tick.Decimal

// Quote is the prices of a tick. Price is always given, the rest where the publisher gave it.
type Quote = tick.Quote

// Position is a tick's place in its symbol's order: by Epoch, then by Seq, which counts up by one within an epoch.
type Position = tick.Position

// Event is what a Client hands out: a Tick, Gap, Stale, Fresh, Connected, Disconnected or Unsubscribed.
type Event interface{ event() }

// Tick is one price of one symbol.
type Tick struct {
	Symbol string
	Position
	Quote
}

// Time is when the price was made, by its publisher's clock, to the microsecond.
func (t Tick) Time() time.Time { return time.UnixMicro(t.TS) }

// Gap says that ticks of a symbol in mode every are missing: From to To of Epoch, both included. To is 0 where the gap
// runs to the end of the epoch, which nobody knows. The edge has tried to fill it before it told of it; Client.Ticks may
// still get what it names, see also Options.FetchGaps.
type Gap struct {
	Symbol   string
	Epoch    uint64
	From, To uint64
}

// Stale says that the edge has heard nothing from the source of all prices for Age (0 where it does not know), so that
// prices shown may be old. It comes again every few seconds while that lasts. A symbol that merely does not trade is not
// stale.
type Stale struct{ Age time.Duration }

// Fresh says that what Stale told of is over.
type Fresh struct{}

// Connected says that the client has a connection. Subscriptions are renewed on it, and prices count as fresh until
// Stale says otherwise. It is the first event of every Client.
type Connected struct{ URL string }

// Disconnected says that there is no connection, and comes again when a round of attempts failed. Err tells why, Retry
// when the next attempt begins.
type Disconnected struct {
	Err   error
	Retry time.Duration
}

// Unsubscribed says that an edge refused to renew subscriptions after a reconnect: they are no more.
type Unsubscribed struct {
	Symbols []string
	Err     *code.Error
}

func (Tick) event()         {}
func (Gap) event()          {}
func (Stale) event()        {}
func (Fresh) event()        {}
func (Connected) event()    {}
func (Disconnected) event() {}
func (Unsubscribed) event() {}
