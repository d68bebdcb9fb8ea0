// Package stamp is the one place where a price gets its place in the order: it gives epoch, seq and prev, publishes
// the tick on ticks.<symbol> and says the beat. It holds the limit on distinct symbols, and it stamps only while the
// lease says so.
package stamp
