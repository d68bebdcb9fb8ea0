// Package store is the stream TICKS as ingest sees it: made when missing and kept to the configuration, and read once
// at the start of an epoch for the last tick of each symbol. Ticks get into it by being published; nothing here
// writes them.
package store
