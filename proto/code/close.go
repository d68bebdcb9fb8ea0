package code

// Close is a WebSocket close code.
//
// 4000 to 4199, 1002, 1003 and 1007 to 1010 say: the client is at fault, do not come back unchanged.
// Every other close (4200 to 4399, 1001, 1006, 1011 to 1013) says: come back, after the time given in a reconnect
// message or with full jitter.
type Close uint16

const (
	GoingAway      Close = 1001 // the edge stops
	ProtocolError  Close = 1002 // a frame that RFC 6455 forbids
	Unsupported    Close = 1003 // a binary frame on the JSON protocol, a text frame on the MessagePack one
	InvalidPayload Close = 1007 // a text frame that is not UTF-8
	TooBig         Close = 1009 // a message of more than 64 KB
	InternalError  Close = 1011 // a fault of ours

	TooManyErrors Close = 4000 // 100 refused messages on one connection

	Drain Close = 4200 // the edge is being emptied; a reconnect message came before
	Idle  Close = 4201 // nothing came from the client, and it took nothing, for the idle time
)

// ComeBack tells whether a client should connect again after this close code.
func (c Close) ComeBack() bool {
	switch {
	case c >= 4000 && c <= 4199, c == 1002, c == 1003, c >= 1007 && c <= 1010:
		return false
	}
	return true
}
