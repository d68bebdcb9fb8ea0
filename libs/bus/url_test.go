package bus

import "testing"

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
