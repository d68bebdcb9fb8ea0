// Package mirror keeps a region's copy of the home region's stream TICKS: its routers start from it, and read history out of
// it, while the link to home is cut.
package mirror
