// Package newest asks a region's routers for what the edge's own clients do not want: the newest tick of any symbol, for
// the edge's HTTP endpoints, where one answer serves everybody for two seconds, and ranges of ticks out of the history.
package newest
