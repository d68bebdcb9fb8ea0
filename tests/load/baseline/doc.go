// Package baseline runs the servers that the edge is held against, each a process of its own, started afresh for every
// run and given the same payloads: Limit, a bare loop of write(2) on ready frames, which is what the kernel alone costs;
// GWS, a plain gws server with its Broadcaster; NATS, nats-server's own WebSocket. The first two are the test binary run
// again. Linux only.
package baseline
