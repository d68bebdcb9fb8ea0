package code

import (
	"errors"
	"fmt"
)

// Code names one kind of error. Codes are stable: programs act on them, people read the message beside them.
type Code string

// Codes of a refused price (answers on ingest.>).
const (
	BadMessage     Code = "bad_message"      // the payload or message cannot be read at all, or a field has the wrong type
	BadSymbol      Code = "bad_symbol"       // not 1 to 32 of A-Z 0-9 - _
	BadPrice       Code = "bad_price"        // price missing, not a decimal, not positive, too many digits
	BadField       Code = "bad_field"        // bid, ask, a size or a day figure is not a decimal
	BadTime        Code = "bad_time"         // ts is not an integer of microseconds, or more than a minute ahead
	TooLarge       Code = "too_large"        // the payload is longer than allowed
	TooManySymbols Code = "too_many_symbols" // more distinct symbols than allowed
	NotStored      Code = "not_stored"       // stamped and sent to all, but the history does not hold it yet
	Unavailable    Code = "unavailable"      // cannot be done now; the same request may succeed later
)

// Codes of the client protocol and of HTTP.
const (
	BadOp            Code = "bad_op"             // op is none of subscribe, unsubscribe, ping
	BadMode          Code = "bad_mode"           // mode is unknown, or does not go with another field
	BadRate          Code = "bad_rate"           // max_rate out of bounds
	BadAfter         Code = "bad_after"          // after is malformed, or given without mode every
	BadOrigin        Code = "bad_origin"         // 403: the Origin is not allowed
	BadProtocol      Code = "bad_protocol"       // 400: not a WebSocket request, or only unknown subprotocols
	TooManyUnpriced  Code = "too_many_unpriced"  // more symbols without a price than allowed on one connection
	TooManyClients   Code = "too_many_clients"   // 503: the edge is full; see Retry-After
	NoPrice          Code = "no_price"           // 404: the symbol has no price yet
	BadRange         Code = "bad_range"          // 400: epoch, from, to are not a range that may be asked for
	Gone             Code = "gone"               // 410: nothing of the range is in the history any more
	NotFound         Code = "not_found"          // 404: no such path or thing
	MethodNotAllowed Code = "method_not_allowed" // 405
	BadBucket        Code = "bad_bucket"         // the bucket's name is malformed or is not the edge's
	BadRegion        Code = "bad_region"         // not 1 to 32 of a-z 0-9 -
	BadName          Code = "bad_name"           // an edge's name or id is malformed
	TooMuchInterest  Code = "too_much_interest"  // a part names more symbols than allowed
	NoEdge           Code = "no_edge"            // no edge can take a client now
	Internal         Code = "internal"           // a fault of ours; the log has the rest
)

// Error is an error with a code. Message is for a person: it names what was wrong and what is allowed.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
}

func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// Errorf makes an Error.
func Errorf(c Code, format string, args ...any) *Error {
	return &Error{Code: c, Message: fmt.Sprintf(format, args...)}
}

// Of gives the coded error inside err. An uncoded one becomes Internal with a message that gives nothing away.
func Of(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Code: Internal, Message: "internal error; the service's log has the cause"}
}

// Quote shortens s for a message: junk is shown, but never more than 40 bytes of it.
func Quote[T ~string | ~[]byte](s T) string {
	const most = 40
	if len(s) > most {
		return fmt.Sprintf("%q…", string(s[:most]))
	}
	return fmt.Sprintf("%q", string(s))
}
