// Package demand knows what each bucket of the region wants and which interest numbers that stands for. It takes what
// is announced and what KV says, in any order, and tells what changed by it.
//
// A Demand belongs to one goroutine and does no I/O.
package demand
