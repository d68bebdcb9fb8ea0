package bucket

import (
	"sync"
	"sync/atomic"

	"github.com/tickfan/tickfan/libs/telemetry"
	"github.com/tickfan/tickfan/proto/code"
)

// Stats are an edge's counters, shared by its buckets. Plain atomics: an instrument reads them when it is asked.
type Stats struct {
	Batches   atomic.Int64 // batches received
	Ticks     atomic.Int64 // ticks in them
	Old       atomic.Int64 // ticks not newer than what was known
	Unwanted  atomic.Int64 // ticks that no connection wants any more
	Unknown   atomic.Int64 // items of a kind that this edge does not know
	Malformed atomic.Int64 // payloads that could not be read
	Holes     atomic.Int64 // batch numbers missing
	Resyncs   atomic.Int64 // times that newest was asked for everything

	Deliveries atomic.Int64 // ticks that went to a client
	Conflated  atomic.Int64 // ticks that a newer one replaced before they went out
	Gaps       atomic.Int64 // gaps told to clients

	RangesAsked atomic.Int64 // ranges asked of routers for holes of mode every
	Filled      atomic.Int64 // ticks that came with their answers

	Writes  atomic.Int64 // system calls that wrote ticks
	Bytes   atomic.Int64 // bytes they wrote
	Refused atomic.Int64 // writes that a socket did not take whole
	Pings   atomic.Int64
	Slow    atomic.Int64 // sessions whose socket takes no more for now

	// Set before the first bucket, or nil.
	Taken   *telemetry.Age // of ticks that come
	Written *telemetry.Age // of ticks that go out

	Requests      atomic.Int64 // of clients
	RequestErrors atomic.Int64 // of ours to the registry and to routers

	mu      sync.Mutex
	byCode  map[code.Code]int64
	byClose map[code.Close]int64
}

// CountRefused counts a refused request.
func (s *Stats) CountRefused(c code.Code) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byCode == nil {
		s.byCode = map[code.Code]int64{}
	}
	s.byCode[c]++
}

// Ended counts a connection that was closed with code c, by us or by the client.
func (s *Stats) ended(c code.Close) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byClose == nil {
		s.byClose = map[code.Close]int64{}
	}
	s.byClose[c]++
}

// RefusedByCode calls f for each code that a client was refused with.
func (s *Stats) RefusedByCode(f func(code.Code, int64)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c, n := range s.byCode {
		f(c, n)
	}
}

// EndedByCode calls f for each close code that a connection ended with.
func (s *Stats) EndedByCode(f func(code.Close, int64)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c, n := range s.byClose {
		f(c, n)
	}
}
