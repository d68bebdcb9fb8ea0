package control

import "github.com/tickfan/tickfan/proto/code"

// HeaderWait of a request on ingest.<symbol>, with the value WaitStored, has the answer wait until the history holds the
// tick, two seconds at most.
const (
	HeaderWait = "Tickfan-Wait"
	WaitStored = "stored"
)

// IngestAnswer is the answer to a request on ingest.<symbol>: OK with the tick's position once it is stamped and
// flushed to NATS, or the reason for refusing it. With not_stored it has both: the tick is sent, but may not be kept.
type IngestAnswer struct {
	OK    bool        `json:"ok,omitempty"`
	Epoch uint64      `json:"epoch,omitempty"`
	Seq   uint64      `json:"seq,omitempty"`
	Trace string      `json:"trace,omitempty"` // id of the price's trace, 32 hexadecimal digits, where it has one
	Error *code.Error `json:"error,omitempty"`
}
