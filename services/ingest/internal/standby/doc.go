// Package standby holds what an ingest that stands by would have to stamp if the leading one died now: the newest price of
// each symbol, unless a tick says that the leader had it; and the leader's newest ticks, which TICKS may lack.
package standby
