//go:build linux

package measure

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
)

// tick is the unit of the times in /proc/<pid>/stat: USER_HZ is 100 on every architecture that Go runs on.
const tick = time.Second / 100

// CPU is the user and system time of a process so far, of all its threads, those that ended included. Steps of 10 ms.
func CPU(pid int) (time.Duration, error) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, fmt.Errorf("read CPU time: %w", err)
	}
	return cpuOf(stat)
}

// cpuOf reads fields 14 and 15 of a stat line. The second field, the command's name, may hold anything, blanks and
// parentheses too, so fields are counted from its last parenthesis.
func cpuOf(stat []byte) (time.Duration, error) {
	const user, system = 14 - 3, 15 - 3 // what follows the name begins with field 3
	at := bytes.LastIndexByte(stat, ')')
	if at < 0 {
		return 0, errors.New("read CPU time: no command name in stat")
	}
	fields := bytes.Fields(stat[at+1:])
	if len(fields) <= system {
		return 0, fmt.Errorf("read CPU time: %d fields in stat", len(fields))
	}
	sum := int64(0)
	for _, f := range [][]byte{fields[user], fields[system]} {
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read CPU time: %w", err)
		}
		sum += n
	}
	return time.Duration(sum) * tick, nil
}

// RSS is the resident memory of a process in bytes. It is summed over the page tables: the counter in statm lags by some
// hundred KB a thread.
func RSS(pid int) (int64, error) {
	rollup, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
	if err != nil {
		return 0, fmt.Errorf("read resident memory: %w", err)
	}
	return kilobytes(rollup, "Rss:")
}

// kilobytes gives the value of a line "Name:   1234 kB" in bytes.
func kilobytes(text []byte, name string) (int64, error) {
	for line := range bytes.Lines(text) {
		fields := bytes.Fields(line)
		if len(fields) == 3 && string(fields[0]) == name && string(fields[2]) == "kB" {
			n, err := strconv.ParseInt(string(fields[1]), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read %s %w", name, err)
			}
			return n << 10, nil
		}
	}
	return 0, fmt.Errorf("read %s no such line", name)
}
