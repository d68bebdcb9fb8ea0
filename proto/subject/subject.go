package subject

import (
	"strconv"
	"strings"
)

// Subjects that belong to no region.
const (
	IngestAll = "ingest.>" // prices from anyone allowed: JSON, MessagePack or a bare decimal
	TicksAll  = "ticks.>"  // what the active ingest stamped
	Beat      = "beat"     // the active ingest's sign of life, every 500 ms
)

// Streams and KV stores.
const (
	StreamTicks = "TICKS"    // keeps ticks.>
	KVEdges     = "EDGES"    // <edge id>: an edge's lease
	KVInterest  = "INTEREST" // <bucket>.<part>: symbols that a bucket wants
	KVLeader    = "LEADER"   // ingest's lease and epoch
	KeyLease    = "lease"
	KeyEpoch    = "epoch"
)

// QueueRouters is the queue group in which a region's routers share RouterNewest.
const QueueRouters = "routers"

// Service is the name of the registry's NATS micro service.
const Service = "tickfan-registry"

// Ingest is ingest.<symbol>.
func Ingest(s Symbol) string { return "ingest." + string(s) }

// Ticks is ticks.<symbol>.
func Ticks(s Symbol) string { return "ticks." + string(s) }

// Fanout is fanout.<region>.<bucket>: batches for the one edge that holds the bucket.
func Fanout(r Region, b Bucket) string { return "fanout." + string(r) + "." + string(b) }

// RouterBeat is router.<region>.beat: each router's sign of life, every 500 ms.
func RouterBeat(r Region) string { return "router." + string(r) + ".beat" }

// RouterNewest is router.<region>.newest: newest ticks on request.
func RouterNewest(r Region) string { return "router." + string(r) + ".newest" }

// Interest is interest.<region>: one changed part, announced by the registry before it writes KV.
func Interest(r Region) string { return "interest." + string(r) }

// Registry is registry.<region>.<endpoint>, e.g. registry.local.heartbeat.
func Registry(r Region, endpoint string) string { return "registry." + string(r) + "." + endpoint }

// Endpoints of the registry: the first two take a JSON payload, symbol and drain a further token of the subject.
const (
	EndpointInterest  = "interest"  // control.InterestRequest
	EndpointHeartbeat = "heartbeat" // control.Heartbeat
	EndpointLocate    = "locate"    // no payload
	EndpointEdges     = "edges"     // no payload
	EndpointBuckets   = "buckets"   // no payload
	EndpointSymbol    = "symbol"    // registry.<region>.symbol.<symbol>, no payload
	EndpointDrain     = "drain"     // registry.<region>.drain.<edge>, no payload
)

// Parts is the number of parts that a bucket's interest is split into, so that one value stays small.
const Parts = 16

// Part is the part that a symbol's interest belongs to: FNV-1a 32 of the symbol modulo Parts.
func Part(s Symbol) int {
	h := uint32(2166136261)
	for i := range len(s) {
		h = (h ^ uint32(s[i])) * 16777619
	}
	return int(h % Parts)
}

// InterestKey is <bucket>.<part>, part in decimal.
func InterestKey(b Bucket, part int) string { return string(b) + "." + strconv.Itoa(part) }

// ParseInterestKey is the reverse of InterestKey; ok is false for a key of another form.
func ParseInterestKey(key string) (b Bucket, part int, ok bool) {
	i := strings.LastIndexByte(key, '.')
	if i < 0 {
		return "", 0, false
	}
	part, err := strconv.Atoi(key[i+1:])
	if err != nil || part < 0 || part >= Parts || strconv.Itoa(part) != key[i+1:] {
		return "", 0, false
	}
	b, berr := ParseBucket(key[:i])
	return b, part, berr == nil
}
