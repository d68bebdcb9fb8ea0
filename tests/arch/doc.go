// Package arch holds the rules of the repository as tests: who may import whom, who may dial NATS, upgrade a socket or
// write a store, what every package and module must have.
//
// A rule reads syntax alone, so it needs no build and sees the code for other systems too. Each is tried on a few lines
// that break it, see broken_test.go.
package arch
