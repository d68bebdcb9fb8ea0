// Package bucket is the edge's fan-out: one worker with a table of newest ticks and up to 10,000 connections, fed by
// one NATS subscription. There is no queue of ticks per connection: a connection knows which of its topics are dirty,
// and a flush writes their newest values. Snapshot, conflation, rate limit and slow client are that one path.
// Everything here but the commands belongs to the worker's goroutine, so it needs no lock.
package bucket
