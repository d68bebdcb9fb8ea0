// Package chaos breaks two regions again and again while hundreds of clients watch them: processes are killed and paused,
// ways cut and stalled, servers parted, disks filled or put back to an older state, a region cut off. After each blow
// everything is mended, and every client must come to the newest prices; none may see a price go back, and in mode every none
// may miss a price untold. TestMutants shows that a wrong build fails.
//
// The blows are drawn by a seed, which a failure names. Times are reported and never fail a run, but for the half minute
// in which all must be well again.
package chaos
