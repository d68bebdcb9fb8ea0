package fleet

import (
	"time"

	"github.com/tickfan/tickfan/tests/load/oracle"
)

// What a fleet asks its workers. A worker answers each order with one line.
const (
	orderConnect    = "connect"
	orderReconnect  = "reconnect"
	orderResume     = "resume"
	orderDisconnect = "disconnect"
	orderWindow     = "window"
	orderReport     = "report"
	orderCheck      = "check"
)

// order is a line on a worker's stdin.
type order struct {
	Op    string `json:"op"`
	Crowd string `json:"crowd,omitempty"`

	Plan     *Plan         `json:"plan,omitempty"`      // connect
	First    int           `json:"first,omitempty"`     // connect: number in the crowd of the worker's first socket
	Count    int           `json:"count,omitempty"`     // connect, reconnect: sockets of this worker
	Before   int           `json:"before,omitempty"`    // connect: sockets that the whole fleet has connected before
	Rate     int           `json:"rate,omitempty"`      // connect, reconnect: connects a second of this worker; 0: a storm
	InFlight int           `json:"in_flight,omitempty"` // connect, reconnect: handshakes at a time
	Within   time.Duration `json:"within,omitempty"`    // connect, reconnect: until a socket is given up

	Finals []uint64 `json:"finals,omitempty"` // check: the last number of each symbol
}

// answer is a line on a worker's stdout.
type answer struct {
	Error     string               `json:"error,omitempty"` // what was asked cannot be done
	Connected *connectedPart       `json:"connected,omitempty"`
	Crowds    map[string]crowdPart `json:"crowds,omitempty"` // report
	CPU       time.Duration        `json:"cpu,omitempty"`    // report
	Verdict   *oracle.Verdict      `json:"verdict,omitempty"`
}

// connectedPart is a worker's part of a Connected.
type connectedPart struct {
	Ready, Refused, Failed int
	Began, Ended           int64 // microseconds since 1970
	Errors                 map[string]int
	ReadyAfter             string // histogram
}

// crowdPart is a worker's part of a Report.
type crowdPart struct {
	Open       int
	Closed     int
	CloseCodes map[int]int
	Traffic    Traffic
	Counts     oracle.Counts
	Latency    string // histogram
	Sizes      string // histogram
	Examples   []string
}
