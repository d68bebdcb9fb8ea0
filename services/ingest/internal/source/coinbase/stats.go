package coinbase

import (
	"sync/atomic"

	"github.com/tickfan/tickfan/libs/telemetry"
)

// Stats are counts since the start. They may be read from any goroutine.
type Stats struct {
	Tickers       atomic.Int64 // frames by type
	Heartbeats    atomic.Int64
	Subscriptions atomic.Int64
	Errors        atomic.Int64
	Unknown       atomic.Int64 // of a type, or a product, that was not asked for
	Bad           atomic.Int64 // that could not be read

	Connects atomic.Int64 // connections that stood
	Failures atomic.Int64 // connections that failed or ended
	Gaps     atomic.Int64 // times that trades were missing
	Lost     atomic.Int64 // trades that were missing
	Repeated atomic.Int64 // tickers whose trade had been seen, not stamped again
	Fields   atomic.Int64 // fields left out of a tick
	Refused  atomic.Int64 // products that the exchange refused
	Unacked  atomic.Int64 // products that an ack left out

	Age *telemetry.Age // of prices when they are stamped, by the exchange's clock; nil: not counted
}
