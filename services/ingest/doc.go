// Package ingest is the service where prices enter Tickfan: it takes them from exchanges, from the generator and from
// ingest.<symbol>, checks them, stamps each with its place in the order and publishes it on ticks.<symbol>. Of several
// instances one stamps at a time.
package ingest
