package bucket

import (
	"strings"
	"testing"
	"time"
)

// Clients are told one after the other, evenly; each once, and none is closed. Who comes meanwhile is told at once.
func TestDrain(t *testing.T) {
	b := bench(0)
	const n = 1000
	outs := make([]*outlet, n)
	sessions := make([]*Session, n)
	for i := range outs {
		outs[i] = &outlet{}
		sessions[i] = join(b, outs[i])
	}
	now := int64(time.Hour)
	const within = int64(20 * time.Second)
	b.beginDrain(now, now+within)
	b.beginDrain(now+1, now+2) // once is enough
	told := func() (n int) {
		for _, o := range outs {
			switch {
			case len(o.took) > 1 || o.ended:
				t.Fatalf("said %q, ended %t", o.took, o.ended)
			case len(o.took) == 1:
				if !strings.Contains(o.took[0], `"op":"reconnect"`) || !strings.Contains(o.took[0], `"drain"`) {
					t.Fatalf("said %q", o.took)
				}
				n++
			}
		}
		return n
	}
	for step := int64(0); step <= 10; step++ {
		b.emptied.tell(now + step*within/10)
		if step == 5 {
			late := &outlet{}
			b.addSession(join(b, late))
			if len(late.took) == 0 {
				t.Error("who comes late is not told")
			}
			b.dropSession(sessions[0], now) // told or not: he is gone
		}
		if got, want := told(), int(step*n/10); got < want-1 || got > want+1 {
			t.Errorf("after %d tenths %d of %d are told", step, got, n)
		}
	}
	if b.emptied.next() < now+within {
		t.Error("the worker is woken for nothing")
	}
}
