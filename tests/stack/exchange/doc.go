// Package exchange is a fake of Coinbase Exchange's WebSocket feed for tests: it plays a recording to whoever subscribes,
// and keeps to the rules that the exchange's documents and captures show. A client that does not subscribe within 5 s is
// disconnected; a subscribe with any fault is ignored as a whole and answered with an error; an ack names the full set,
// in any order; after it comes what is current of each product; heartbeats come once a second on the whole second.
package exchange
