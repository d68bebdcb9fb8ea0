package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tickfan/tickfan/libs/conf"
	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/libs/ops"
)

// asService makes the test binary a service, so that signals and exit codes are the real ones.
const asService = "DAEMON_TEST_AS_SERVICE"

func TestMain(m *testing.M) {
	if how := os.Getenv(asService); how != "" {
		os.Exit(Main("fake", "A service for tests.", &fakeConfig{}, map[string]string{"ops": "127.0.0.1:0"}, fakeRun(how)))
	}
	natstest.Main(m)
}

type fakeConfig struct {
	conf.Common `embed:""`
	Secret      string `name:"secret" secret:"" default:"s3cr3t" help:"A secret."`
}

func fakeRun(how string) Run {
	return func(ctx context.Context, d ops.Deps) error {
		condition := d.Ops.Condition("work")
		condition.Set(nil)
		d.SayReady()
		<-ctx.Done()
		switch how {
		case "stuck":
			select {} // for a second signal to end
		case "fails":
			return errors.New("flush ticks: broken")
		}
		return fmt.Errorf("serve: %w", context.Cause(ctx))
	}
}

// logBuffer is a log that a test may read while it is written.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func start(t *testing.T, how string, args ...string) (*exec.Cmd, *logBuffer) {
	t.Helper()
	var out logBuffer
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), asService+"="+how)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, &out
}

func waitFor(t *testing.T, out *logBuffer, what string) {
	t.Helper()
	natstest.Eventually(t, 20*time.Second, func() bool { return strings.Contains(out.String(), what) }, "%s in the log", what)
}

func TestSignalStopsCleanly(t *testing.T) {
	cmd, out := start(t, "well", "--nats", "nats://u:pw@h:1")
	waitFor(t, out, "msg=ready")
	addr := regexp.MustCompile(`ops is listening".* address=(\S+)`).FindStringSubmatch(out.String())[1]

	var stderr bytes.Buffer
	health := func() int {
		stderr.Reset()
		return command(t.Context(), "fake", "", &fakeConfig{}, []string{"health", "--ops", addr}, nil, nil, &stderr)
	}
	if code := health(); code != exitClean {
		t.Errorf("health: %d %s", code, &stderr)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if code := health(); code != exitFault || strings.Count(stderr.String(), "\n") != 1 {
		t.Errorf("health after the end: %d %s", code, &stderr)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if last := lines[len(lines)-1]; !strings.Contains(last, "msg=stopped") {
		t.Errorf("last line %q", last)
	}
	for _, want := range []string{"service=fake", "config.nats=nats://u:xxxxx@h:1", "config.secret=xxxxx", `cause="terminated signal received"`, "msg=stopped"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
}

func TestErrorIsExitCode1(t *testing.T) {
	cmd, out := start(t, "fails", "--log-format", "json")
	waitFor(t, out, `"msg":"ready"`)
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitFault || !strings.Contains(out.String(), `"error":"flush ticks: broken"`) {
		t.Errorf("%d\n%s", code, out)
	}
}

// While it drains, the service says that it is not ready; a second signal ends it at once.
func TestSecondSignalKills(t *testing.T) {
	cmd, out := start(t, "stuck")
	waitFor(t, out, "msg=ready")
	addr := regexp.MustCompile(`ops is listening".* address=(\S+)`).FindStringSubmatch(out.String())[1]
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	waitFor(t, out, "msg=stopping")
	if err := ops.Check(t.Context(), addr); err == nil || !strings.Contains(err.Error(), "not ready: running: stopping: terminated") {
		t.Errorf("while it drains: %v", err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGTERM {
		t.Errorf("ended with %v", cmd.ProcessState)
	}
}

func TestUsage(t *testing.T) {
	t.Setenv("TICKFAN_BOGUS", "1")
	var stderr bytes.Buffer
	code := command(t.Context(), "fake", "", &fakeConfig{}, []string{"--region", "EU", "--log-level", "loud"}, nil, nil, &stderr)
	want := `fake: --region "EU": 1 to 32 of a-z 0-9 -
fake: --log-level "loud": one of debug, info, warn, error
fake: TICKFAN_BOGUS: no such setting
fake: see fake --help
`
	if code != exitUsage || stderr.String() != want {
		t.Errorf("%d\n%s", code, &stderr)
	}
}

func TestTakenOpsPortIsFoundBeforeRun(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var stderr bytes.Buffer
	code := command(t.Context(), "fake", "", &fakeConfig{}, []string{"--ops", ln.Addr().String()}, nil,
		func(context.Context, ops.Deps) error { t.Error("run was called"); return nil }, &stderr)
	if code != exitFault || !strings.Contains(stderr.String(), "is taken; choose another with --ops") {
		t.Errorf("%d\n%s", code, &stderr)
	}
}

func TestRunThatEndsByItself(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
	}{{nil, exitClean}, {errors.New("read file: gone"), exitFault}, {context.Canceled, exitFault}} {
		var stderr bytes.Buffer
		code := command(t.Context(), "fake", "", &fakeConfig{}, []string{"--ops", "127.0.0.1:0", "--pprof"}, nil,
			func(_ context.Context, d ops.Deps) error {
				d.Ops.Condition("work").Set(nil)
				return c.err
			}, io.MultiWriter(&stderr))
		if code != c.code {
			t.Errorf("%v: %d\n%s", c.err, code, &stderr)
		}
	}
}

func TestPprofFlag(t *testing.T) {
	var out logBuffer
	code := command(t.Context(), "fake", "", &fakeConfig{}, []string{"--ops", "127.0.0.1:0", "--pprof"}, nil,
		func(ctx context.Context, _ ops.Deps) error {
			addr := regexp.MustCompile(`ops is listening".* address=(\S+)`).FindStringSubmatch(out.String())[1]
			req, err := http.NewRequestWithContext(ctx, "GET", "http://"+addr+"/debug/pprof/cmdline", nil)
			if err != nil {
				return err
			}
			resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
			if err != nil {
				return err
			}
			_ = resp.Body.Close()
			if resp.StatusCode != 200 {
				return errors.New(resp.Status)
			}
			return nil
		}, &out)
	if code != exitClean {
		t.Errorf("%d\n%s", code, &out)
	}
}
