package socket

import "testing"

// Ticks are not encrypted, and so stay their owner's, as long as the kernel has anything unsent: a slow client has no flush
// of older ticks in front of the newest but the kernel's.
func TestNothingIsEncryptedTooEarly(t *testing.T) {
	c, _, _ := pair(t, overTLS(t), func() {})
	sent := fill(t, c)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.out) > 0 {
		t.Errorf("%d encrypted bytes wait behind %d frames that the kernel has", len(c.out), sent)
	}
}
