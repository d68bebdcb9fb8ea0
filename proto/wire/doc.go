// Package wire is MessagePack without reflection: functions that append one value to a slice, and a Reader that takes
// values off one without allocating, exactly (a float is no integer) and within bounds (no length is believed that the
// payload cannot hold). It covers the types the protocol uses (nil, bool, integers, strings, arrays, maps) and can pass
// over the rest. Every payload on NATS is an array whose first element is its Kind.
//
// Why not vmihailenco/msgpack: per tick of 19 elements, lowest of 12 runs on one of 2 cores (AMD EPYC), Go 1.26.8, at 77991d8,
//
//	encode   wire 190 ns, 0 allocations     vmihailenco 811 ns,  4 allocations
//	decode   wire 266 ns, 1 allocation      vmihailenco 965 ns, 13 allocations
//	head     wire 127 ns, 0 allocations     (all that a router reads)
//
// by this command in the folder of module proto:
//
//	go test ./tick -run XXX -bench 'Encode|Decode/' -cpu 1 -count 12
package wire
