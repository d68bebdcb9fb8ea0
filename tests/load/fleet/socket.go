package fleet

import (
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/tests/load/oracle"
)

// state is how far a socket has come.
type state uint8

const (
	stateClosed      state = iota // or not connected yet
	stateHandshake                // connecting, and until the answer is there
	stateSubscribing              // until "subscribed", or PONG with NATS
	stateSnapshots                // until each symbol that has a price has come
	stateReady
)

func (s state) String() string {
	return [...]string{"closed", "in the handshake", "not subscribed", "without all snapshots", "ready"}[s]
}

// socket is one client. There may be 18,000 in a process, so it has no buffers but for what is unfinished.
type socket struct {
	crowd  *crowd
	number int // in the crowd
	target string
	source [4]byte // address to connect from; 0.0.0.0: the system's choice
	base   int     // index of its first symbol
	tracks []oracle.Track

	fd       int
	slot     int32 // in the worker's table
	age      int32 // times connected: an event of an earlier connection is not for this one
	state    state
	asked    bool // its order waits for it
	watched  uint32
	waiting  int          // snapshots that have to come before it is ready
	unpriced map[int]bool // tracks whose symbols have no price yet
	began    int64        // of its connect, microseconds since 1970
	slow     bool         // in the worker's list of slow ones
	due      int64        // of the next read of a slow one

	decoder session.Decoder // Compact

	rest   []byte // of what was read: a frame that has not come whole
	stream []byte // NATS: an operation that has not come whole
	out    []byte // what the kernel did not take
}

// behind gives the first track that is not on its final number, or -1.
func (s *socket) behind(finals []uint64) int {
	for i := range s.tracks {
		if symbol := (s.base + i) % s.crowd.symbols; symbol >= len(finals) || s.tracks[i].Last() != finals[symbol] {
			return i
		}
	}
	return -1
}

// symbols gives the names of the socket's symbols.
func (s *socket) symbols() []string {
	names := make([]string, len(s.tracks))
	for i := range names {
		names[i] = s.crowd.symbol((s.base + i) % s.crowd.symbols)
	}
	return names
}

// track gives the place of a symbol in tracks, or -1.
func (s *socket) track(symbol []byte) int {
	i := s.crowd.index(symbol)
	if i < 0 {
		return -1
	}
	if i -= s.base; i < 0 {
		i += s.crowd.symbols
	}
	if i >= len(s.tracks) {
		return -1
	}
	return i
}
