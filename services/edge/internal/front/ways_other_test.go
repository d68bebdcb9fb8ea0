//go:build !linux

package front

func accepting() []string { return []string{byHTTP, overTLS} }
