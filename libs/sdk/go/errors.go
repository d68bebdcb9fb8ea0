package tickfan

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/tickfan/tickfan/proto/code"
)

// ErrClosed is what methods of a Client return after Close.
var ErrClosed = errors.New("tickfan: client is closed")

// CloseError says that the edge closed the connection. A Client ends with one when its Code says not to come back;
// otherwise it is the Err of a Disconnected event.
type CloseError struct {
	Code   code.Close // 0: none was given
	Reason string
	Fault  *code.Error // the last error that the edge said without naming a request, if any
}

func (e *CloseError) Error() string {
	s := fmt.Sprintf("edge closed the connection with code %d", e.Code)
	if e.Reason != "" {
		s += " " + e.Reason
	}
	if e.Fault != nil {
		s += ": " + e.Fault.Error()
	}
	return s
}

// Unwrap gives Fault, so that errors.As finds the *code.Error.
func (e *CloseError) Unwrap() error {
	if e.Fault == nil {
		return nil
	}
	return e.Fault
}

// refusal is an answer to the handshake that is no upgrade.
type refusal struct {
	status int
	fault  *code.Error   // what the body said; nil: it was not Tickfan that answered
	after  time.Duration // Retry-After
	secure bool          // it wants TLS
}

func (e *refusal) Error() string {
	s := fmt.Sprintf("answered %d %s", e.status, http.StatusText(e.status))
	switch {
	case e.secure:
		return s + ": it speaks TLS; write https:// or wss://"
	case e.fault == nil:
		return s + ", not in the words of a Tickfan edge"
	}
	return s + ": " + e.fault.Error()
}

func (e *refusal) Unwrap() error {
	if e.fault == nil {
		return nil
	}
	return e.fault
}

// errAskedToLeave is why a connection ended that the edge wanted to be rid of.
var errAskedToLeave = errors.New("the edge asked to go to another one")

// errNotTickfan is behind the error of a handshake that something answered which is no edge.
var errNotTickfan = errors.New("not a Tickfan edge")

// final tells whether trying the same again is pointless. Something that is no edge is a wrong URL at first; later it
// is more likely a proxy whose edges are away for a moment.
func final(err error, first bool) bool {
	var closed *CloseError
	if errors.As(err, &closed) {
		return !closed.Code.ComeBack()
	}
	var refused *refusal
	if errors.As(err, &refused) {
		switch refused.status {
		case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
			return false
		}
		return refused.status < 500 && (first || refused.fault != nil)
	}
	var certificate *tls.CertificateVerificationError
	return first && (errors.Is(err, errNotTickfan) || errors.As(err, &certificate))
}
