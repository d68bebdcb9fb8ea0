//go:build !race

package stack

// race has the services built with the race detector when the test is.
const race = false
