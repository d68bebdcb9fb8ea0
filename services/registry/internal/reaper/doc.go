// Package reaper removes the interest of edges that died without a word. It is slow to believe it: after a restart of
// NATS all leases are gone at once, and removing the interest then would stop every price of a region.
package reaper
