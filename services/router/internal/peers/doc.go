// Package peers knows a region's routers by their beats, and so which of them serve a bucket.
//
// Nobody decides it: each router ranks all of them for each bucket by the same hash (rendezvous hashing), and the first
// copies of the ranking serve it. A router that comes or goes moves only the buckets that it gets or had. Views differ for
// a moment after each change; then a bucket is served by more routers than it needs, which does no harm.
package peers
