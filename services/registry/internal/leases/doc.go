// Package leases keeps the KV store EDGES: which edges of the region live. An edge lives as long as its lease, which
// each heartbeat renews; the registry alone writes it.
package leases
