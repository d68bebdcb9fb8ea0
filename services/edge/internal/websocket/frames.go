package websocket

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/session"
)

// Opcodes (RFC 6455, 5.2).
const (
	opContinuation = 0
	opText         = 1
	opBinary       = 2
	opClose        = 8
	opPing         = 9
	opPong         = 10
)

// frame is one frame of a client.
//
//	byte 0: FIN, RSV1 to 3, opcode              byte 1: mask bit, length up to 125 | 126 | 127
//	126: 2 bytes of length    127: 8 bytes      4 bytes of mask      payload
type frame struct {
	op       byte
	fin      bool
	deflated bool   // RSV1
	payload  []byte // unmasked in place
}

// parse takes the first frame off p. size 0: it is not whole yet. What RFC 6455 or a limit forbids is told as soon as it
// can be seen, by the close code that it ends the connection with: no memory is ever reserved from a length that a client
// declares. deflate: compression has been agreed on.
func parse(p []byte, deflate bool) (f frame, size int, fault code.Close) {
	if len(p) < 2 {
		return f, 0, 0
	}
	f.op, f.fin, f.deflated = p[0]&15, p[0]&0x80 != 0, p[0]&rsv1 != 0
	n, head := int(p[1]&0x7f), 2
	switch n {
	case 126:
		if len(p) < 4 {
			return f, 0, 0
		}
		n, head = int(binary.BigEndian.Uint16(p[2:])), 4
	case 127:
		if len(p) < 10 {
			return f, 0, 0
		}
		if binary.BigEndian.Uint64(p[2:]) > session.MaxMessage {
			return f, 0, code.TooBig
		}
		n, head = int(binary.BigEndian.Uint64(p[2:])), 10
	}
	control := f.op >= opClose
	switch {
	case n > session.MaxMessage:
		return f, 0, code.TooBig
	case p[0]&0x30 != 0, p[1]&0x80 == 0, // reserved bits; no mask
		f.deflated && (!deflate || control || f.op == opContinuation),
		control && (!f.fin || n > maxControl || f.op > opPong),
		!control && f.op > opBinary:
		return f, 0, code.ProtocolError
	case len(p) < head+4+n:
		return f, 0, 0
	}
	f.payload = p[head+4 : head+4+n]
	unmask(f.payload, [4]byte(p[head:]))
	return f, head + 4 + n, 0
}

// unmask works on eight bytes at a time.
func unmask(p []byte, key [4]byte) {
	k := uint64(binary.LittleEndian.Uint32(key[:]))
	k |= k << 32
	for len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^k)
		p = p[8:]
	}
	for i := range p {
		p[i] ^= key[i&3]
	}
}

// fragments is a message of several frames, as far as it has come.
type fragments struct {
	op       byte
	deflated bool
	payload  []byte
}

// join puts data frames together. whole: f is a message; else more has to come. Most messages have one frame, and then
// nothing is kept.
func join(m **fragments, f *frame) (whole bool, fault code.Close) {
	switch started := *m != nil; {
	case started != (f.op == opContinuation):
		return false, code.ProtocolError
	case !started && f.fin:
		return true, 0
	case !started:
		*m = &fragments{op: f.op, deflated: f.deflated}
	}
	if len((*m).payload)+len(f.payload) > session.MaxMessage {
		return false, code.TooBig
	}
	(*m).payload = append((*m).payload, f.payload...)
	if !f.fin {
		return false, 0
	}
	f.op, f.deflated, f.payload = (*m).op, (*m).deflated, (*m).payload
	*m = nil
	return true, 0
}

// closing is what to answer a close frame with (0: a close frame without a code), and what the client closed with.
func closing(p []byte) (answer, got code.Close) {
	switch len(p) {
	case 0:
		return 0, noStatus
	case 1:
		return code.ProtocolError, code.ProtocolError
	}
	got = code.Close(binary.BigEndian.Uint16(p))
	switch {
	case !utf8.Valid(p[2:]):
		return code.InvalidPayload, code.InvalidPayload
	case got < 1000, got >= 5000, got >= 1016 && got < applications, got == 1004, got == noStatus, got == abnormal, got == 1014, got == 1015:
		return code.ProtocolError, code.ProtocolError
	case got < applications:
		return normal, got
	}
	return got, applications
}
