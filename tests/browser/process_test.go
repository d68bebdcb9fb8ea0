//go:build browser

package browser

import (
	"bytes"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tickfan/tickfan/libs/natstest"
)

// build makes the commands of the named services and returns the folder they are in.
func build(t *testing.T, services ...string) string {
	t.Helper()
	dir := t.TempDir()
	args := []string{"build", "-o", dir + string(filepath.Separator)}
	for _, s := range services {
		args = append(args, "./services/"+s+"/cmd/"+s)
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return dir
}

// process is a running command of ours.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended

	mu  sync.Mutex
	out bytes.Buffer
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// start runs a command until it says that it is ready on its ops port, and ends it with the test.
func start(t *testing.T, ops, command string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(command, append(args, "--ops", ops)...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", command, err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = p.cmd.Wait() // how it ended is seen in its output
		close(p.done)
	})
	t.Cleanup(func() {
		p.stop()
		wg.Wait()
		if t.Failed() {
			t.Logf("output of %s:\n%s", p.cmd, tail(p.output(), 4000))
		}
	})
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	natstest.Eventually(t, patience, func() bool {
		if p.ended() {
			t.Fatalf("%s ended:\n%s", p.cmd, p.output())
		}
		r, err := client.Get("http://" + ops + "/readyz")
		if err != nil {
			return false
		}
		_ = r.Body.Close()
		return r.StatusCode == http.StatusOK
	}, "%s is ready", p.cmd)
	return p
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// kill ends the process as a crash would.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// stop ends it as Ctrl-C would, and by force if that takes too long.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-p.done:
	case <-time.After(15 * time.Second):
		p.t.Errorf("%s did not end on an interrupt", p.cmd)
		p.kill()
	}
}

// freePorts gives n ports that were free a moment ago, as text.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
	var ports []string
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close() // held until all are found, so that they differ
		_, port, _ := strings.Cut(ln.Addr().String(), ":")
		ports = append(ports, port)
	}
	return ports
}

// dev is the all-in-one.
type dev struct {
	page, nats string // URLs
}

// startDev runs it on free ports, with the generator unless more flags say otherwise.
func startDev(t *testing.T, bin string, flags ...string) *dev {
	t.Helper()
	ports := freePorts(t, 3)
	start(t, "127.0.0.1:"+ports[0], filepath.Join(bin, "dev"), append([]string{
		"--listen", "127.0.0.1:" + ports[1], "--nats-port", ports[2], "--data", t.TempDir()}, flags...)...)
	return &dev{page: "http://127.0.0.1:" + ports[1] + "/", nats: "nats://127.0.0.1:" + ports[2]}
}

func tail(s string, n int) string {
	if len(s) > n {
		return "..." + s[len(s)-n:]
	}
	return strings.TrimSpace(s)
}
