// Package lease keeps an edge's lease: a heartbeat to the registry every three seconds, which says what the edge is and
// has, and brings back what it must do.
package lease
