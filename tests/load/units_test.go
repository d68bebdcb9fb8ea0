//go:build linux

package load

import "fmt"

// Figures as they stand in tables; "-" for one that is not there.

func microseconds(v float64) string  { return figure("%.3f us", v) }
func milliseconds(us float64) string { return figure("%.1f ms", us/1000) }
func megabytes(bytes float64) string { return figure("%.1f MB", bytes/1e6) }
func kilobytes(bytes float64) string { return figure("%.2f KB", bytes/1024) }
func count(v float64) string         { return figure("%.0f", v) }

func figure(format string, v float64) string {
	if v != v || v == 0 {
		return "-"
	}
	return fmt.Sprintf(format, v)
}
