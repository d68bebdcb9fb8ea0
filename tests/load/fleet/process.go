package fleet

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

const (
	// answerTime is what a worker may take for an order, beside what it was told to take itself.
	answerTime = 30 * time.Second

	// stopTime is what a worker may take to end when its stdin was closed.
	stopTime = 10 * time.Second
)

// process is one worker, seen from the test.
type process struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	orders  *json.Encoder
	answers chan []byte // closed with stdout
	stderr  *tail
}

func startProcess() (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the test binary: %w", err)
	}
	p := &process{cmd: exec.Command(self), answers: make(chan []byte, 1), stderr: &tail{}}
	p.cmd.Env = append(os.Environ(), workerVariable+"=1")
	if os.Getenv("GORACE") == "" {
		p.cmd.Env = append(p.cmd.Env, "GORACE=atexit_sleep_ms=50") // with the race detector, by default each end takes a second longer
	}
	p.cmd.Stderr = p.stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("make stdin: %w", err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("make stdout: %w", err)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start worker: %w", err)
	}
	p.orders = json.NewEncoder(p.in)
	go p.read(out)
	return p, nil
}

// read hands on the lines of stdout until it ends with the worker.
func (p *process) read(out io.Reader) {
	defer close(p.answers)
	in := bufio.NewReader(out)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		p.answers <- line
	}
}

// answer waits for the answer to the order that was sent last.
func (p *process) answer(within time.Duration) (answer, error) {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-timer.C:
		return answer{}, fmt.Errorf("no answer within %s\n%s", within, p.stderr)
	case line, ok := <-p.answers:
		var a answer
		if !ok {
			return a, fmt.Errorf("ended\n%s", p.stderr)
		}
		if err := json.Unmarshal(line, &a); err != nil {
			return a, fmt.Errorf("decode answer: %w", err)
		}
		if a.Error != "" {
			return a, fmt.Errorf("refused: %s", a.Error)
		}
		return a, nil
	}
}

// stop ends the worker and gives what was wrong with its end.
func (p *process) stop() error {
	_ = p.in.Close()
	kill := time.AfterFunc(stopTime, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	for range p.answers {
		// Nobody waits for these any more; Wait may be called only when stdout was read to its end.
	}
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("%w\n%s", err, p.stderr)
	}
	return nil
}

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const tailBytes = 16 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - tailBytes; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.buf))
}
