// Package natstest gives tests a real nats-server, a connection to it and a cable that can be cut, a way
// to wait that is no sleep, and a TestMain that fails on leaked goroutines.
//
// A package that starts goroutines has in main_test.go:
//
//	func TestMain(m *testing.M) { natstest.Main(m) }
package natstest
