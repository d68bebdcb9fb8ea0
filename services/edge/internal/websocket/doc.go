// Package websocket is the edge's WebSocket transport: it takes an HTTP request through the handshake, reads frames and
// turns them into a bucket's calls, and owns the frames of a tick. On Linux a poller reads and the frames are taken apart
// here; else, and for TLS, gws does it in a goroutine, but for connections with compression, whose frames are ours there
// too. Every write goes through package socket.
package websocket
