package bus

import (
	"testing"
	"time"
)

func TestLimiter(t *testing.T) {
	now := time.Unix(0, 0)
	l := newLimiter(10*time.Second, func() time.Time { return now })
	expect := func(kind string, suppressed int, ok bool) {
		t.Helper()
		if s, o := l.allow(kind); s != suppressed || o != ok {
			t.Errorf("%s at %v: %d, %v; want %d, %v", kind, now, s, o, suppressed, ok)
		}
	}
	expect("a", 0, true)
	expect("a", 0, false)
	expect("b", 0, true) // one trouble does not hide another
	now = now.Add(9 * time.Second)
	expect("a", 0, false)
	now = now.Add(time.Second)
	expect("a", 2, true)
	expect("a", 0, false)
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"nats://h:1":                 "nats://h:1",
		"h:1":                        "nats://h:1",
		"nats://u:p@h:1, tls://t@h2": "nats://xxxxx@h:1,tls://xxxxx@h2",
		"u:p@ss@h":                   "nats://xxxxx@h",
	} {
		if got := redact(in); got != want {
			t.Errorf("redact(%q) = %q, want %q", in, got, want)
		}
	}
}
