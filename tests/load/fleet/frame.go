package fleet

import (
	"encoding/binary"
	"errors"
)

// Opcodes of WebSocket frames (RFC 6455, 5.2).
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa
)

// largestFrame bounds what a worker keeps of a frame that has not come whole. A "subscribed" of 1,000 symbols has 36 KB;
// nats-server may put all that it has into one frame.
const largestFrame = 16 << 20

// Errors of a server's frames.
var (
	errMasked   = errors.New("a server's frame is masked")
	errReserved = errors.New("a frame with reserved bits")
	errOpcode   = errors.New("a frame with a reserved opcode")
	errControl  = errors.New("a control frame is fragmented or longer than 125 bytes")
	errHuge     = errors.New("a frame of more than 16 MB")
)

// frame is one frame of a server:
//
//	fin rsv1-3 opcode | mask length (7 bits) | 126: 2 bytes, 127: 8 bytes more | payload
type frame struct {
	opcode  byte
	fin     bool
	payload []byte // points into what was read
}

// cut takes a frame off the head of p and gives the number of its bytes; 0: it has not come whole.
func (f *frame) cut(p []byte) (int, error) {
	if len(p) < 2 {
		return 0, nil
	}
	head, length, from := p[0], uint64(p[1]), 2
	f.opcode, f.fin = head&0x0f, head&0x80 != 0
	switch {
	case head&0x70 != 0:
		return 0, errReserved
	case length&0x80 != 0:
		return 0, errMasked
	case f.opcode > opPong || f.opcode > opBinary && f.opcode < opClose:
		return 0, errOpcode
	case f.opcode >= opClose && (!f.fin || length > 125):
		return 0, errControl
	}
	switch length {
	case 126:
		if from = 4; len(p) < from {
			return 0, nil
		}
		length = uint64(binary.BigEndian.Uint16(p[2:]))
	case 127:
		if from = 10; len(p) < from {
			return 0, nil
		}
		length = binary.BigEndian.Uint64(p[2:])
	}
	if length > largestFrame {
		return 0, errHuge
	}
	end := from + int(length)
	if len(p) < end {
		return 0, nil
	}
	f.payload = p[from:end:end]
	return end, nil
}

// maskingKey is the same for all frames: it need not be secret here, and the server's work is that of any key.
const maskingKey uint32 = 0x37fa213d

// appendFrame appends a client's frame.
func appendFrame(b []byte, opcode byte, payload []byte) []byte {
	b = append(b, 0x80|opcode)
	switch n := len(payload); {
	case n <= 125:
		b = append(b, 0x80|byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	b = binary.BigEndian.AppendUint32(b, maskingKey)
	for i, c := range payload {
		b = append(b, c^byte(maskingKey>>(24-8*(i&3))))
	}
	return b
}

// closeCode is that of a close frame's payload; 1005: none was given.
func closeCode(payload []byte) int {
	if len(payload) < 2 {
		return 1005
	}
	return int(binary.BigEndian.Uint16(payload))
}
