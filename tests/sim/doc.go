// Package sim runs real nats-servers, registries and routers under simulated edges: as many buckets as ten million
// clients have, of 10,000 clients each, whose symbols are drawn by Zipf's law. Every client and what it wants is there;
// an edge is modelled as far as the registry and the routers see it. It reports what each part costs, and what that grows
// with.
//
// No single machine reaches a market's ticks times a thousand buckets, so time is stretched: ticks come k times slower,
// and the router's flush window is k times longer. A batch then holds what it would hold, and a tick, an item and a batch
// cost what they would cost, or more, since fewer of them share a wake-up; there are k times fewer of them a second.
package sim
