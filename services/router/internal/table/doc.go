// Package table keeps the newest tick of every symbol as the payload it came in, with its place in the symbol's order.
//
// A Table belongs to one goroutine. Its size is bounded by ingest, which bounds the symbols of TICKS.
package table
