package front

import (
	"bytes"

	"github.com/tickfan/tickfan/libs/quiet"
)

// faults is where net/http logs, a line for each client that fails: a handshake that TLS refuses, for one.
type faults struct{ log *quiet.Log }

func (f faults) Write(line []byte) (int, error) {
	f.log.Warn("http", "connection failed", "error", string(bytes.TrimSpace(line)))
	return len(line), nil
}
