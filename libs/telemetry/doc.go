// Package telemetry gives a service its metrics: OpenTelemetry instruments,
// read by Prometheus at /metrics.
//
// Each [Telemetry] has a registry of its own and touches no global of OpenTelemetry
// or Prometheus, so the four services of the all-in-one can live in one process.
package telemetry
