// Package control is what edges, routers and the registry say to each other about interest, leases and sharing the
// work: JSON in KV and on registry.<region>.>, MessagePack on interest.<region> and router.<region>.beat.
package control
