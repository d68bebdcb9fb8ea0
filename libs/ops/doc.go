// Package ops is what an operator sees of a service: health, readiness, metrics and
// profiles over HTTP on the ops port.
//
// A service earns its readiness: it names what it waits for as a [Condition], and
// /readyz says no, with each reason, until all are met.
package ops
