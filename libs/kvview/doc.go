// Package kvview keeps a live, read-only copy of a JetStream KV store in memory, and does not
// take it for true: a [View] confirms its copy by reading the store anew, every 30 s, after
// each reconnection and whenever something does not fit. For a watch alone may go blind for
// many seconds, keeps for ever a key that went while it was cut off, and does not notice that
// its store was deleted and made again.
package kvview
