// Package bus is the only place that dials NATS.
//
// [Connect] waits for a server instead of giving up, so services start in any order; keeps
// the connection for the life of the process; and says what happens to it to the log, to the
// counters and to readiness. [JetStream] checks that JetStream is on before it is relied on.
package bus
