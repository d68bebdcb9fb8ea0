// Package natsd runs a nats-server inside the process, for the all-in-one and for tests.
//
// It is the only package that imports nats-server, and it sets what Tickfan relies on:
// publishers are never stalled by a slow reader, and a dead peer is noticed within 15 seconds.
package natsd
