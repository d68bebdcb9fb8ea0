// Package front is what clients reach first: it accepts connections, answers with 503 what the edge cannot serve yet or any
// more, and hands requests on. On Linux it reads a handshake through a poller, without a goroutine, and has net/http do
// the rest; else net/http does all.
package front
