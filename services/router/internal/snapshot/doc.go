// Package snapshot reads the newest tick of every symbol out of the stream TICKS: to fill a router's table at its
// start, and again whenever it may have missed something.
package snapshot
