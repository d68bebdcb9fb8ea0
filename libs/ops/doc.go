// Package ops is what an operator sees of a service: health, readiness, metrics and
// profiles over HTTP on the ops port.
//
// A service earns its readiness: it names what it waits for as a [Condition], and
// /readyz says no, with each reason, until all are met. It loses it again when one of them
// has been unmet for longer than [Grace]. /healthz says that the process answers, and no
// more: to start an edge again because NATS is away would cost its clients their connections.
package ops
