// Package route is the router's one loop: ticks, beats, interest and requests go in, batches and answers come out.
//
// A Router does the work and is told the time; a Loop is the goroutine that owns a Router and feeds it from NATS.
package route
