// Package tracetest collects traces in tests, as a collector does: OTLP over gRPC.
package tracetest
