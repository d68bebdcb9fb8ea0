// Package tickctl is the command that users and operators of Tickfan have at hand: pub sends a price to ingest over
// NATS and shows the answer, watch shows prices as an edge pushes them, decode turns what travels on NATS into JSON;
// status, edges, buckets, symbol and top show what runs, drain stops an edge, doctor finds what is set up badly. It knows
// what proto/PROTOCOL.md documents, and the metrics of the ops ports.
package tickctl
