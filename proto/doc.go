// Package proto is Tickfan's contract: what its services say to each other over NATS and what an edge says to its
// clients. PROTOCOL.md beside this file is the text; the packages below are its Go form: subject (names), tick
// (prices on the bus), control (interest, leases, the registry), session (the client protocol), code (every error
// and close code). Nothing here dials, waits or logs.
package proto
