// Package chaos breaks a whole region again and again while hundreds of SDK clients watch it: processes are killed and
// paused, ways cut and stalled, servers put back to an older disk. After each blow everything is mended, and every client
// must come to the newest prices; none may see a price go back, and in mode every none may miss a price untold.
//
// The blows are drawn by a seed, which a failure names. Times are reported and never fail a run, but for the half minute
// in which all must be well again.
package chaos
