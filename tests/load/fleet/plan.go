package fleet

import (
	"strconv"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tickfan/tickfan/tests/load/oracle"
)

// Dialect is what a server speaks.
type Dialect string

const (
	JSON        Dialect = "json"    // tickfan.v1.json
	MessagePack Dialect = "msgpack" // tickfan.v1.msgpack
	Compact     Dialect = "compact" // tickfan.v1.compact
	Frames      Dialect = "frames"  // the server pushes ticks in JSON to each socket unasked
	NATS        Dialect = "nats"    // the NATS protocol over WebSocket; Subject gives the subjects
)

// Plan is one crowd of sockets; a fleet may hold several at once. Socket i of a crowd goes to target i mod the number of
// targets.
type Plan struct {
	Name     string   // of the crowd
	Targets  []string // host:port
	Path     string   // of the handshake; "": /v1/ws, with NATS /
	Sockets  int
	Dialect  Dialect
	Symbols  int      // of the run: L0-USD to L<Symbols-1>-USD
	Each     int      // symbols of a socket: those from (i*Each) mod Symbols on, round the end
	Names    []string // symbols instead of L<n>-USD; their prices carry no number, so the oracle goes by seq
	Mode     string   // "", "latest" or "every"; with Frames and NATS only for the oracle
	MaxRate  int      // writes a second; 0: not given
	Rate     int      // connects a second over all workers; 0: a storm, as many in flight as the backlog takes
	ReadRate int      // bytes a second that a socket reads once it is ready; 0: all; -1: nothing
	RcvBuf   int      // SO_RCVBUF in bytes, set before connect; 0: the system's
}

// Connected is what came of connecting. Ready is: handshake done, subscribe answered and every snapshot there, where the
// dialect has them.
type Connected struct {
	Asked, Ready int
	Refused      int                     // answered, but not with an upgrade or "subscribed"
	Failed       int                     // no connection, no answer in time, or closed
	Took         time.Duration           // from the first connect to the last socket ready or given up
	Errors       map[string]int          // why not ready
	ReadyAfter   *hdrhistogram.Histogram // microseconds from a socket's connect to its being ready
}

// Report is what a crowd saw in the window.
type Report struct {
	Sockets    int         // open now
	Closed     int         // by the server or a fault, in the window
	CloseCodes map[int]int // of those; 1006: without a close frame

	Traffic
	oracle.Counts

	CPU         time.Duration           // of all workers, user and system, in the window: the whole fleet's, not the crowd's
	Latency     *hdrhistogram.Histogram // microseconds from the price's ts to the return of the read
	PayloadSize *hdrhistogram.Histogram // bytes of a tick's payload
	Examples    []string                // of the first faults, readable
}

// Traffic is what a crowd read, beside what the oracle counts.
type Traffic struct {
	Deliveries   int64 // ticks that are no snapshots
	Frames       int64 // data frames
	Bytes        int64 // read off the sockets
	PayloadBytes int64 // of the deliveries, without frame header
	Reads        int64 // that gave bytes
	Pings        int64 // answered

	Stale, Gaps, Errors int64 // messages; also what could not be read, and errors of NATS
}

func (t *Traffic) add(o Traffic) {
	t.Deliveries += o.Deliveries
	t.Frames += o.Frames
	t.Bytes += o.Bytes
	t.PayloadBytes += o.PayloadBytes
	t.Reads += o.Reads
	t.Pings += o.Pings
	t.Stale += o.Stale
	t.Gaps += o.Gaps
	t.Errors += o.Errors
}

// firstPrice is the price with number 0. All have as many digits, so that the sizes of ticks do not change in a run.
const firstPrice = 1_000_000

// Price is the text of the published price with this number, 0 to 8,999,999: "1000042.5" carries 42.
func Price(number uint64) string { return strconv.FormatUint(firstPrice+number, 10) + ".5" }

// Symbol is the name of a run's n-th symbol.
func Symbol(n int) string { return "L" + strconv.Itoa(n) + "-USD" }

// Subject is what a client of dialect NATS subscribes to for a symbol.
func Subject(symbol string) string { return "load." + symbol }
