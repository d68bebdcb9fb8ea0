// Package router is Tickfan's regional worker: it keeps the newest tick of every symbol and the interest of every
// bucket of its region, and sends each bucket the ticks it wants as numbered batches on fanout.<region>.<bucket>.
//
// It knows symbols and buckets, never clients. What it holds is a copy (of TICKS and of INTEREST), so a restart loses
// nothing. One goroutine, package route, owns all of it.
package router
