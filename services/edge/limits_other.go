//go:build !linux

package edge

import "syscall"

func fileLimit() (int, error) {
	var l syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l)
	return int(min(l.Cur, 1<<30)), err
}

func machineMemory() int64 { return 0 }
