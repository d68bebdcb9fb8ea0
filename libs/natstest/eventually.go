package natstest

import (
	"fmt"
	"testing"
	"time"
)

// pollEvery is short, so that a test takes as long as what it waits for.
const pollEvery = 2 * time.Millisecond

// Eventually tries cond until it is true, and ends the test when it is not within that time.
// what and args say, as of Printf, what was waited for.
func Eventually(t testing.TB, within time.Duration, cond func() bool, what string, args ...any) {
	t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			if !cond() { // the machine may have been busy since the last look
				t.Fatalf("not within %s: %s", within, fmt.Sprintf(what, args...))
			}
			return
		}
	}
}
