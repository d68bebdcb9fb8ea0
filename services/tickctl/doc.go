// Package tickctl is the command that users and operators of Tickfan have at hand: pub sends a price to ingest over
// NATS and shows the answer, watch shows prices as an edge pushes them, decode turns what travels on NATS into JSON.
package tickctl
