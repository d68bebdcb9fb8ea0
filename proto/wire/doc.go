// Package wire is MessagePack on Tickfan's hot paths: functions that append one value to a slice, and a Reader that
// takes values off one without allocating. It covers the types the protocol uses (nil, bool, integers, strings,
// arrays, maps) and can skip the rest. BenchmarkDecode in package tick compares it with vmihailenco/msgpack.
// Every payload on NATS is an array whose first element is its Kind.
package wire
