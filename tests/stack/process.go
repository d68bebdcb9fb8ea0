package stack

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tickfan/tickfan/libs/natstest"
)

const (
	// patience is for whatever must happen, on a busy machine under the race detector.
	patience = 60 * time.Second

	// stopTime is how long a process may take to stop before the end of a test kills it.
	stopTime = 20 * time.Second

	logTail = 60 // lines of each process's log that a failed test shows
)

// Process is a command that can be started again after it ended. It is stopped with the test; then a data race or panic
// in its log fails the test, and a failed test shows the log's end. The whole logs are in the test's artifact folder
// (go test -artifacts).
type Process struct {
	t    testing.TB
	name string
	path string
	args []string
	env  []string
	out  *output // stderr, and stdout if there is no other place for it

	stdout *output // nil: see out

	cmd   *exec.Cmd     // nil before the first run
	done  chan struct{} // closed when the present run has ended
	ended time.Time     // when that was
}

// Exit is how a process ended.
type Exit struct {
	Code int           // -1 when a signal ended it
	Took time.Duration // from the signal that told it to stop
}

// NewProcess makes a process of any command, for what stands beside Tickfan. env is added to its environment.
func NewProcess(t testing.TB, name, path string, env []string, args ...string) *Process {
	t.Helper()
	p := newProcess(t, name, path, args...)
	p.env = append(p.env, env...)
	return p
}

// newProcess makes a process of a command; more args may come with Start.
func newProcess(t testing.TB, name, path string, args ...string) *Process {
	t.Helper()
	p := &Process{t: t, name: name, path: path, args: args}
	p.out = newOutput(t, filepath.Join(t.ArtifactDir(), name+".log"))
	for _, e := range os.Environ() {
		// What a developer has set for himself is not what is tested.
		if !strings.HasPrefix(e, "TICKFAN_") && !strings.HasPrefix(e, "OTEL_") {
			p.env = append(p.env, e)
		}
	}
	if race && os.Getenv("GORACE") == "" {
		p.env = append(p.env, "GORACE=atexit_sleep_ms=50") // by default each end takes a second longer
	}
	t.Cleanup(p.end)
	return p
}

// Start runs the command with its arguments and more. It does not wait for anything.
func (p *Process) Start(more ...string) {
	p.t.Helper()
	if p.Running() {
		p.t.Fatalf("start %s: it runs", p.name)
	}
	p.out.newRun()
	cmd := exec.Command(p.path, slices.Concat(p.args, more)...)
	cmd.Env = p.env
	cmd.Stdout, cmd.Stderr = p.out, p.out
	if p.stdout != nil {
		cmd.Stdout = p.stdout
	}
	if err := cmd.Start(); err != nil {
		p.t.Fatalf("start %s: %v", p.name, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait() // cmd.ProcessState says how it ended
		p.ended = time.Now()
	}()
	p.cmd, p.done = cmd, done
}

// Running tells whether it has been started and has not ended.
func (p *Process) Running() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Kill ends it as kill -9 does, and waits until it is gone.
func (p *Process) Kill() {
	p.t.Helper()
	if !p.Running() {
		p.t.Fatalf("kill %s: it does not run", p.name)
	}
	_ = p.cmd.Process.Kill() // fails where it has just ended
	<-p.done
}

// Signal sends a signal and returns at once.
func (p *Process) Signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Errorf("signal %s: %v", p.name, err)
	}
}

// Stop tells it to stop by a signal and waits for its end.
func (p *Process) Stop(s os.Signal) Exit {
	p.t.Helper()
	began := time.Now()
	p.Signal(s)
	return p.Wait(began)
}

// Wait waits for its end, which was asked for at began.
func (p *Process) Wait(began time.Time) Exit {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(stopTime):
		p.t.Errorf("%s did not end within %s", p.name, stopTime)
		p.Kill()
	}
	return Exit{Code: p.cmd.ProcessState.ExitCode(), Took: p.ended.Sub(began)}
}

// Await waits for a line of the present run's log and gives the pattern's groups.
func (p *Process) Await(pattern string) []string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	var found []string
	natstest.Eventually(p.t, patience, func() bool {
		ended := !p.Running()
		found = re.FindStringSubmatch(p.out.present())
		if found == nil && ended {
			p.t.Fatalf("%s ended before it said %q", p.name, pattern)
		}
		return found != nil
	}, "%s says %q", p.name, pattern)
	return found[1:]
}

// Log is what the present run has written to stderr.
func (p *Process) Log() string { return p.out.present() }

// PID is that of the present run.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Name is for messages.
func (p *Process) Name() string { return p.name }

// end stops it with the test.
func (p *Process) end() {
	if p.Running() {
		p.Stop(syscall.SIGTERM)
	}
	log := p.out.all()
	for _, sign := range []string{"WARNING: DATA RACE", "panic: ", "fatal error: "} {
		if strings.Contains(log, sign) {
			p.t.Errorf("%s: %q in its log", p.name, sign)
		}
	}
	if p.t.Failed() && log != "" {
		p.t.Logf("log of %s, to its end:\n%s", p.name, tail(log, logTail))
	}
	_ = p.out.file.Close()
	if p.stdout != nil {
		_ = p.stdout.file.Close()
	}
}
