// Package sim runs a real registry, router and nats-server under simulated edges: as many buckets as ten million clients
// have, each wanting what 10,000 clients want whose symbols are drawn by Zipf's law. It reports what each part costs, and
// what that grows with.
//
// The machine does not reach the ticks of a real market times a thousand buckets, so ticks are fewer, in bursts of
// different lengths; the costs per tick, per item and per batch are fitted to what was measured.
package sim
