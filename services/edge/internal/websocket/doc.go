// Package websocket is the edge's WebSocket transport: it takes an HTTP request through the handshake, reads frames and
// turns them into a bucket's calls, and owns the frames of a tick. gws does the handshake and reads; every write goes
// through package socket.
package websocket
