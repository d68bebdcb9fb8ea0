package control

import (
	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/subject"
)

// Heartbeat is an edge's word to the registry, every 3 s (endpoint "heartbeat"). It renews the lease, and makes it
// when there is none.
type Heartbeat struct {
	Edge        subject.Edge     `json:"edge"`
	Address     string           `json:"address"` // host:port that clients can reach
	Capacity    int              `json:"capacity"`
	Connections int              `json:"connections"`
	Draining    bool             `json:"draining,omitempty"` // takes no new clients; locate leaves it out
	Stopping    bool             `json:"stopping,omitempty"` // last word: remove lease and interest now
	Buckets     []BucketSnapshot `json:"buckets,omitempty"`
}

// BucketSnapshot is a bucket as its edge knows it.
type BucketSnapshot struct {
	Bucket      subject.Bucket `json:"bucket"`
	Connections int            `json:"connections"`
	Symbols     int            `json:"symbols"`           // wanted, in all parts
	Parts       map[int]uint64 `json:"parts,omitempty"`   // number of each part that the registry has answered for
	Digests     map[int]uint32 `json:"digests,omitempty"` // of what those parts hold, see Set.Digest
}

// Validate checks the heartbeat. The error is a *code.Error.
func (h *Heartbeat) Validate() error {
	if _, err := subject.ParseEdge(string(h.Edge)); err != nil {
		return err
	}
	for _, b := range h.Buckets {
		if _, err := subject.ParseBucket(string(b.Bucket)); err != nil {
			return err
		}
		if b.Bucket.Edge() != h.Edge {
			return code.Errorf(code.BadBucket, "bucket %s is not one of edge %s", b.Bucket, h.Edge)
		}
	}
	return nil
}

// HeartbeatAnswer is the registry's word back. Orders to the edge travel in it.
type HeartbeatAnswer struct {
	TTL    int64            `json:"ttl_ms,omitempty"` // how long the lease lasts from now, milliseconds
	Lost   []subject.Bucket `json:"lost,omitempty"`   // parts of these are gone from KV: send the whole interest again
	Drain  bool             `json:"drain,omitempty"`  // the edge was told to send its clients away and stop
	Others int              `json:"others,omitempty"` // other edges that take clients
	Error  *code.Error      `json:"error,omitempty"`
}

// Lease is the value of EDGES key <edge id>.
type Lease struct {
	Edge        subject.Edge     `json:"edge"`
	Address     string           `json:"address"`
	Capacity    int              `json:"capacity"`
	Connections int              `json:"connections"`
	Draining    bool             `json:"draining,omitempty"`
	Drain       bool             `json:"drain,omitempty"` // it was told to
	Buckets     []BucketSnapshot `json:"buckets,omitempty"`
	Renewed     int64            `json:"renewed"` // microseconds since 1970 UTC, the registry's clock
}

// LocateAnswer names the least loaded edge that takes clients (endpoint "locate").
type LocateAnswer struct {
	Edge    subject.Edge `json:"edge,omitempty"`
	Address string       `json:"address,omitempty"`
	Error   *code.Error  `json:"error,omitempty"`
}

// DrainAnswer says that an edge will hear with its next heartbeat that it is to drain (endpoint "drain").
type DrainAnswer struct {
	Edge  subject.Edge `json:"edge,omitempty"`
	Error *code.Error  `json:"error,omitempty"`
}

// EdgesAnswer lists the region's edges, sorted by id (endpoint "edges").
type EdgesAnswer struct {
	Edges []Lease `json:"edges"`
	Time  int64   `json:"time"` // when it was answered, by the clock of Renewed; microseconds since 1970 UTC
}

// BucketsAnswer lists the region's buckets, sorted (endpoint "buckets").
type BucketsAnswer struct {
	Buckets []BucketInfo `json:"buckets"`
}

// BucketInfo is a bucket as KV has it.
type BucketInfo struct {
	Bucket  subject.Bucket `json:"bucket"`
	Number  uint64         `json:"number"` // the highest of its parts
	Symbols int            `json:"symbols"`
	Every   int            `json:"every"` // of those, how many in mode every
	Leased  bool           `json:"leased"`
}

// SymbolAnswer says who wants a symbol (endpoint "symbol").
type SymbolAnswer struct {
	Symbol  subject.Symbol          `json:"symbol,omitempty"`
	Buckets map[subject.Bucket]Flag `json:"buckets,omitempty"`
	Error   *code.Error             `json:"error,omitempty"`
}

// LeaderLease is the value of LEADER key "lease": who may stamp.
type LeaderLease struct {
	Instance string `json:"instance"`
	Epoch    uint64 `json:"epoch"`
}

// LeaderEpoch is the value of LEADER key "epoch": the highest epoch given out.
type LeaderEpoch struct {
	Epoch uint64 `json:"epoch"`
}
