package edge

import (
	"os"
	"os/exec"
	"runtime"
	"testing"
)

// readerVar is the environment variable that says which --reader the tests' edges have; none: this system's.
const readerVar = "EDGE_TEST_READER"

// All tests of this package hold with a goroutine a connection too, which is how other systems than Linux read.
func TestAllWithGoroutines(t *testing.T) {
	if runtime.GOOS != "linux" || os.Getenv(readerVar) != "" {
		return // it is what runs anyway
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.timeout=5m")
	cmd.Env = append(os.Environ(), readerVar+"=goroutine")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
