// Package registry is the service that says who holds which bucket and what each bucket wants. Edges tell it over
// NATS, it keeps what they say in the KV stores EDGES and INTEREST, and routers read that. Nothing in it is done per
// client or per tick, and it holds no state that KV does not: any number of registries share a region's requests, and
// one that starts reads what the others wrote.
package registry
