// Package batch gathers what each bucket is to get and sends it as numbered batches: at once after a pause, else once
// per flush window, split where a batch would be too large, and empty ones now and then to buckets that nothing
// happens to.
//
// A Sender and its Buckets belong to one goroutine. Time is given to them, so tests need no clock.
package batch
