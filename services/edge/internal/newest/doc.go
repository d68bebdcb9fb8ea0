// Package newest asks a region's routers for what the edge's own clients do not want: the newest tick of any symbol, for
// the edge's HTTP endpoints. One answer serves everybody for two seconds.
package newest
