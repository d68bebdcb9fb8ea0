//go:build !linux

package socket

func moreWays() []way { return nil }
