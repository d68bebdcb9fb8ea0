package bus

import (
	"fmt"
	"strconv"
	"strings"
)

// What the oldest nats-server is that has all that Tickfan uses: keys with a time to live, which leases are.
const oldestMajor, oldestMinor = 2, 11

// checkVersion finds a server that is too old. What cannot be read is let through: its owner knows what he built.
func checkVersion(version string) error {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, errA := strconv.Atoi(major)
	b, errB := strconv.Atoi(minor)
	if errA != nil || errB != nil || a > oldestMajor || a == oldestMajor && b >= oldestMinor {
		return nil
	}
	return fmt.Errorf("nats-server %s is too old: %d.%d or newer is needed (keys with a time to live); update it", version, oldestMajor, oldestMinor)
}
