// Package code is the one list of the codes that Tickfan gives a caller: error codes, for a machine to act on, and
// WebSocket close codes, for a client to know whether to come back. An error that reaches a caller without a code
// is a bug of ours and is shown as "internal"; its text stays in the log.
package code
