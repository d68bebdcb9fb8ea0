// Package stack runs Tickfan as it is deployed, for tests: each service a process of its own, over TCP, against an
// ordinary nats-server, all on free ports of 127.0.0.1. A process can be killed, stopped and started again, and asked
// for its log and its metrics. Build makes the programs once per test run.
//
// All methods belong to the test's goroutine, but for those that only look: URL, Address, Metric, Log.
package stack
