// Package socket writes to clients without ever blocking a worker, and on Linux reads from them without a goroutine a
// connection. A Conn is the way to one client: an outbox for answers and control frames, and the write path of ticks. Its
// bytes are read by a Poller (Linux), or by a goroutine of its own through a Stream (everywhere), which may speak TLS.
package socket
