package tickctl

import (
	"strconv"
	"strings"
)

// parseMetrics reads what /metrics serves, a line for each series, and sums the series of a name:
//
//	tickfan_edge_closed_total{code="1001",otel_scope_name="tickfan/edge"} 12
func parseMetrics(text string) map[string]float64 {
	values := map[string]float64{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, rest := line, ""
		if i := strings.IndexAny(line, "{ "); i >= 0 {
			name, rest = strings.TrimSpace(line[:i]), line[i:]
		}
		if end := strings.LastIndexByte(rest, '}'); end >= 0 { // a label's value may hold anything
			rest = rest[end+1:]
		}
		fields := strings.Fields(rest) // the value, and a time perhaps
		if len(fields) == 0 {
			continue
		}
		if v, err := strconv.ParseFloat(fields[0], 64); err == nil {
			values[name] += v
		}
	}
	return values
}
