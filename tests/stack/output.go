package stack

import (
	"os"
	"strings"
	"sync"
	"testing"
)

// output takes what a process writes, over all its runs, and keeps it in a file too.
type output struct {
	mu   sync.Mutex
	text strings.Builder
	file *os.File
	run  int // where in text the present run begins
}

func newOutput(t testing.TB, path string) *output {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	return &output{file: f}
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Write(p)
	return o.file.Write(p)
}

func (o *output) newRun() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.run = o.text.Len()
}

// all is what all runs wrote, present what the present one did.
func (o *output) all() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func (o *output) present() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()[o.run:]
}

// tail is the last n lines of s.
func tail(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	if len(lines) <= n {
		return strings.Join(lines, "\n")
	}
	return "…\n" + strings.Join(lines[len(lines)-n:], "\n")
}
