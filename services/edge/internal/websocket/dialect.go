package websocket

import (
	"encoding/binary"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/tick"
)

// First bytes of the frames that an edge sends: FIN and opcode. A server's frames are not masked.
const (
	finText   = 0x81
	finBinary = 0x82
	finClose  = 0x88
	finPing   = 0x89
	finPong   = 0x8a
)

// maxControl is how long a control frame's payload may be (RFC 6455, 5.5).
const maxControl = 125

// dialect is one encoding of the protocol in WebSocket frames.
type dialect session.Format

func (d dialect) Index() int { return int(d) }

func (d dialect) first() byte {
	if session.Format(d) == session.JSON {
		return finText
	}
	return finBinary
}

func (d dialect) AppendTick(dst []byte, t *tick.Tick) []byte {
	at := len(dst)
	return d.close(session.AppendTick(session.Format(d), open(dst), t), at)
}

func (d dialect) AppendMessage(dst []byte, m *session.Message) []byte {
	at := len(dst)
	return d.close(m.Append(session.Format(d), open(dst)), at)
}

func (d dialect) AppendFull(dst []byte, number uint32, t *tick.Tick, g session.Digits) []byte {
	at := len(dst)
	return d.close(session.AppendFull(open(dst), number, t, g), at)
}

func (d dialect) AppendChanged(dst []byte, number uint32, before, t *tick.Tick, g session.Digits) []byte {
	at := len(dst)
	return d.close(session.AppendChanged(open(dst), number, before, t, g), at)
}

// Join keeps to frames with a header of two bytes: a dozen changed ticks. So what is sent in spite of newer values when
// the kernel cuts a flush within a frame stays as short as one tick is in JSON.
func (d dialect) Join(dst []byte, at int, frame []byte) ([]byte, bool) {
	n := int(dst[at+1]) + int(frame[1])
	if n > maxControl {
		return dst, false
	}
	dst[at+1] = byte(n)
	return append(dst, frame[2:]...), true
}

func (d dialect) AppendPing(dst []byte) []byte { return append(dst, finPing, 0) }

func (d dialect) AppendClose(dst []byte, c code.Close, reason string) []byte {
	return appendClose(dst, c, reason)
}

// appendClose appends a close frame; code 0 is one that says nothing.
func appendClose(dst []byte, c code.Close, reason string) []byte {
	if c == 0 {
		return append(dst, finClose, 0)
	}
	reason = reason[:min(len(reason), maxControl-2)]
	dst = append(dst, finClose, byte(2+len(reason)))
	return append(binary.BigEndian.AppendUint16(dst, uint16(c)), reason...)
}

// appendPong appends the answer to a ping.
func appendPong(dst, payload []byte) []byte {
	return append(append(dst, finPong, byte(len(payload))), payload...)
}

// header is the room left before a payload whose length is not known yet: what most frames need.
const header = 4

// open leaves room for a header.
//
//	first byte | 126 | length, 2 bytes | payload        126 to 65,535 bytes
//	first byte | length | payload                       up to 125 bytes
//	first byte | 127 | length, 8 bytes | payload        more
func open(dst []byte) []byte { return append(dst, make([]byte, header)...) }

// close writes the header of the frame that starts at dst[at]; a header of another size moves the payload.
func (d dialect) close(dst []byte, at int) []byte {
	n := len(dst) - at - header
	switch {
	case n <= maxControl:
		copy(dst[at+2:], dst[at+header:])
		dst = dst[:len(dst)-2]
		dst[at], dst[at+1] = d.first(), byte(n)
	case n <= 0xffff:
		dst[at], dst[at+1] = d.first(), 126
		binary.BigEndian.PutUint16(dst[at+2:], uint16(n))
	default:
		dst = append(dst, make([]byte, 6)...)
		copy(dst[at+10:], dst[at+header:at+header+n])
		dst[at], dst[at+1] = d.first(), 127
		binary.BigEndian.PutUint64(dst[at+2:], uint64(n))
	}
	return dst
}
