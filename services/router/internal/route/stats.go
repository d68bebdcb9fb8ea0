package route

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/tickfan/tickfan/libs/telemetry"
	"github.com/tickfan/tickfan/services/router/internal/batch"
)

// Kind names what could not be read.
type Kind int

// Kinds of messages that are read.
const (
	KindTick Kind = iota
	KindBeat
	KindInterest
	KindNewest
	KindPeer
	Kinds // their number
)

func (k Kind) String() string {
	return [Kinds]string{"tick", "beat", "interest", "newest", "router beat"}[k]
}

var (
	errSubject = errors.New("the tick's symbol is not the one of its subject")
	errNoReply = errors.New("a request without a subject for its answer")
)

// Stats count from the start, but for the last block, which is as of the last Turn. They may be read from any
// goroutine.
type Stats struct {
	Ticks     atomic.Int64 // came on ticks.>
	Old       atomic.Int64 // of those, not after the newest of their symbol
	Missed    atomic.Int64 // stamped, and lost on the way here
	Repaired  atomic.Int64 // came from TICKS and were newer than what was known
	Malformed [Kinds]atomic.Int64
	Announced atomic.Int64 // parts that came on interest.<region>
	Requests  atomic.Int64 // for newest ticks
	Errors    atomic.Int64 // messages that could not be published
	GivenUp   atomic.Int64 // parts that were announced and never came to stand
	Lost      atomic.Int64 // parts that KV lost

	Symbols atomic.Int64 // that have a price
	Buckets atomic.Int64 // that want something
	Served  atomic.Int64 // of those, by this router
	Routers atomic.Int64 // that serve buckets, this one included
	Wants   atomic.Int64 // pairs of bucket and symbol
	Ahead   atomic.Int64 // parts announced that KV has not said yet
	BeatAge atomic.Int64 // milliseconds, tick.NoBeat before the first

	Age *telemetry.Age // of ticks newer than what was known, as they come; set before the first, or nil
}

// Stats gives the counters.
func (r *Router) Stats() *Stats { return &r.stats }

// BatchStats gives the counters of batches.
func (r *Router) BatchStats() *batch.Stats { return r.sender.Stats() }

// faultEvery is the least time between two lines about the same trouble, which may come once per message.
const faultEvery = 10 * time.Second
