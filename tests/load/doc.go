// Package load measures an edge near the machine's limit: thousands of clients, with an oracle that knows what was
// published, and beside it in the same run what the kernel alone costs (baseline). `make bench` runs scenarios A to J and
// writes results/; `make bench-short` runs all of them small and fails where a client is told something wrong. Without
// its flag -load the package measures nothing. Linux only.
package load
