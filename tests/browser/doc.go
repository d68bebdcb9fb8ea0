// Package browser tests the page of an edge in a real Chromium against the real processes: prices appear and move,
// a published price is in every open tab, the page comes back after its edge was away.
//
// The tests have the build tag browser, so that `go test ./...` needs no browser; `make test-browser` sets it. With the
// tag, a missing Chromium is a failure. SCREENSHOTS=<folder> has them write what the page looks like, TRACES=<folder>
// what Chromium did at 500 updates a second, whose figures TestPace logs.
package browser
