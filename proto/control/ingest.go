package control

import "github.com/tickfan/tickfan/proto/code"

// IngestAnswer is the answer to a request on ingest.<symbol>: OK with the tick's position once it is stamped and
// flushed to NATS, or the reason for refusing it.
type IngestAnswer struct {
	OK    bool        `json:"ok,omitempty"`
	Epoch uint64      `json:"epoch,omitempty"`
	Seq   uint64      `json:"seq,omitempty"`
	Error *code.Error `json:"error,omitempty"`
}
