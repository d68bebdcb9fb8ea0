package edge

import (
	"os"
	"os/exec"
	"runtime"
	"testing"
)

// readerVar is the environment variable that says how the tests' edges read: as --reader has it, or overTLS; none: as this
// system does.
const (
	readerVar = "EDGE_TEST_READER"
	overTLS   = "tls"
)

// All tests of this package hold with a goroutine a connection too, which is how other systems than Linux read.
func TestAllWithGoroutines(t *testing.T) {
	if runtime.GOOS != "linux" {
		return // it is what runs anyway
	}
	again(t, "goroutine")
}

// All tests hold over TLS.
func TestAllOverTLS(t *testing.T) { again(t, overTLS) }

func again(t *testing.T, way string) {
	if os.Getenv(readerVar) != "" {
		return // this is it
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.timeout=5m")
	cmd.Env = append(os.Environ(), readerVar+"="+way)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// reader is the --reader of the tests' edges.
func reader() string {
	if way := os.Getenv(readerVar); way != overTLS {
		return way
	}
	return "auto"
}
