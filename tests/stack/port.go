package stack

import "testing"

// Port finds a free port for a server that may come back.
func Port(t testing.TB) int { t.Helper(); return restartablePort(t) }
