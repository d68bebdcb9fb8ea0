// Package store writes a KV store by compare-and-set, and makes it when it is missing. It goes below nats.go's KV,
// which takes a time to live only when a key is created: here a lease is renewed by the same write that makes it.
package store
