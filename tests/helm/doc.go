// Package helm tests what the charts of deploy/helm render: every flag and variable in it is one that its service takes, an edge
// has time to drain, and what the autoscaler asks for is something that an edge counts.
//
// The tests have the build tag helm and need rendered charts: `make helm` makes them.
package helm
