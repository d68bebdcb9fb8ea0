// Package socket is one client's TCP connection, seen from the edge: writes that never block, an outbox for what the
// kernel would not take, and an orderly end. A worker hands it ready frames; the kernel takes a flush whole or
// refuses it, and a refused socket is written to again when it says that it can take more. It knows nothing of
// WebSocket but that a frame beginning with 0x88 is the last.
package socket
