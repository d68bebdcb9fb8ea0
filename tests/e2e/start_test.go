package e2e

import (
	"bufio"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tickfan/tickfan/libs/natsd"
	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/tests/stack"
)

// Exit codes, as libs/daemon has them.
const (
	fault = 1 // it could not go on
	usage = 2 // what it was told is wrong, and nothing was begun
)

// TestStartFails: what keeps a service from starting is told in one line, with what to do about it, and by the exit code.
func TestStartFails(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t)
	nats := server.URL()
	host := strings.TrimPrefix(nats, "nats://")
	locked := "nats://me:wrong@" + strings.TrimPrefix(natstest.StartWith(t, natsd.Options{Username: "me", Password: "right"}).URL(), "nats://")
	without := natstest.StartWith(t, natsd.Options{}).URL() // JetStream
	old := oldServer(t)
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	taken := busy.Addr().String()
	_, takenPort, _ := net.SplitHostPort(taken)
	dir := t.TempDir()
	file, noKey := filepath.Join(dir, "file"), filepath.Join(dir, "key.pem")
	if err := os.WriteFile(file, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}

	for _, x := range []struct {
		name    string
		service string
		env     []string
		args    []string
		code    int
		want    string // a regular expression
	}{
		{"port taken", "edge", nil, []string{"--listen", taken}, fault, `port ` + takenPort + ` is taken; choose another with --listen, e\.g\. --listen 127\.0\.0\.1:\d+`},
		{"ops port taken", "router", nil, []string{"--ops", taken}, fault, `port ` + takenPort + ` is taken; choose another with --ops, e\.g\. --ops 127\.0\.0\.1:\d+`},
		{"dev's NATS port taken", "dev", nil, []string{"--nats-port", takenPort, "--listen", "127.0.0.1:0"}, fault, `port ` + takenPort + ` is taken; choose another with --nats-port, e\.g\. --nats-port \d+`},
		{"no such address", "edge", nil, []string{"--listen", "192.0.2.1:8080"}, fault, `listen on 192\.0\.2\.1:8080 \(--listen\): .*cannot assign`},

		{"JetStream off: ingest", "ingest", nil, []string{"--nats", without}, fault, `JetStream is off at ` + without + `: start nats-server with -js`},
		{"JetStream off: router", "router", nil, []string{"--nats", without}, fault, `JetStream is off at ` + without + `: start nats-server with -js`},
		{"JetStream off: registry", "registry", nil, []string{"--nats", without}, fault, `JetStream is off at ` + without + `: start nats-server with -js`},
		{"wrong credentials", "edge", nil, []string{"--nats", locked}, fault, `Authorization Violation: the server refuses these credentials; give the right ones with --nats nats://user:password@host:4222 \(TICKFAN_NATS\)`},
		{"no URL", "ingest", nil, []string{"--nats", "nats://:4222"}, fault, `read NATS servers .*: want a comma-separated list of nats://host:port \(--nats\)`},
		{"nats-server too old", "registry", nil, []string{"--nats", old}, fault, `nats-server 2\.10\.29 is too old: 2\.11 or newer is needed .*; update it`},

		{"no certificate", "edge", nil, []string{"--tls-cert", file, "--tls-key", noKey}, fault, `--tls-key \\?"` + noKey + `\\?": no such file or directory`},
		{"a folder for a certificate", "edge", nil, []string{"--tls-cert", dir, "--tls-key", file}, fault, `--tls-cert \\?"` + dir + `\\?": is a directory`},
		{"junk for a certificate", "edge", nil, []string{"--tls-cert", file, "--tls-key", file}, fault, `no certificate in PEM in it \(BEGIN CERTIFICATE\); .*no private key in PEM in it`},
		{"data folder", "dev", nil, []string{"--data", filepath.Join(file, "data"), "--listen", "127.0.0.1:0", "--nats-port", "0"}, fault, `data folder: .*: not a directory; name one that this user can write to with --data`},
		{"temporary folder", "dev", []string{"TMPDIR=" + filepath.Join(dir, "none")}, []string{"--listen", "127.0.0.1:0", "--nats-port", "0"}, fault, `make data folder: .*no such file or directory; name one with --data`},

		{"misspelt sampler", "router", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", "OTEL_TRACES_SAMPLER=allways_on"}, nil, fault, `OTEL_TRACES_SAMPLER .*allways_on.*: one of always_on, always_off, traceidratio, `},
		{"unknown exporter", "edge", []string{"OTEL_TRACES_EXPORTER=otpl"}, nil, fault, `make exporter of traces, by OTEL_TRACES_EXPORTER \\"otpl\\" \(otlp, console or none\) .*: unknown exporter`},

		{"unknown variable", "edge", []string{"TICKFAN_LISTN=:8080"}, nil, usage, `^edge: TICKFAN_LISTN: no such setting, did you mean TICKFAN_LISTEN\?$`},
		{"a setting of tickctl's or another service's", "router", []string{"TICKFAN_BOGUS=1", "TICKFAN_LISTEN=:8080"}, nil, usage, `^router: TICKFAN_BOGUS: no such setting$`},
		{"unknown flag", "ingest", nil, []string{"--bogus"}, usage, `^ingest: unknown flag --bogus`},
		{"bad value", "router", nil, []string{"--copies", "9"}, usage, `^router: --copies 9: `},
	} {
		t.Run(x.name, func(t *testing.T) {
			args := append([]string{"--nats", nats, "--ops", "127.0.0.1:0"}, x.args...)
			switch {
			case x.service == "edge" && !strings.Contains(strings.Join(args, " "), "--listen"):
				args = append(args, "--listen", "127.0.0.1:0")
			case x.service == "dev":
				args = append([]string{"--ops", "127.0.0.1:0"}, x.args...)
			}
			if x.name == "no URL" {
				args = append(args, "--log-format", "json")
			}
			checkFails(t, stack.NewProcess(t, x.service, programs.Path(x.service), x.env, args...), x.code, x.want)
		})
	}

	// The limit has to be lowered for a process that does not exist yet.
	t.Run("file limit", func(t *testing.T) {
		edge := stack.NewProcess(t, "edge", "/bin/sh", nil, "-c", `ulimit -n 300 && exec "$0" "$@"`, programs.Path("edge"),
			"--nats", "nats://"+host, "--ops", "127.0.0.1:0", "--listen", "127.0.0.1:0")
		checkFails(t, edge, fault, `file limit 300 is too low: the edge needs more than 500, and one for each client; raise it with ulimit -n`)
	})
}

// checkFails fails the test unless a process ends by itself, with the code, and one line that says what is wrong.
func checkFails(t *testing.T, p *stack.Process, code int, want string) {
	t.Helper()
	began := time.Now()
	p.Start()
	exit := p.Wait(began)
	if exit.Code != code {
		t.Errorf("exit code %d, want %d", exit.Code, code)
	}
	log := p.Log()
	told := 0
	for line := range strings.Lines(log) {
		if regexp.MustCompile(want).MatchString(strings.TrimSpace(line)) {
			told++
		}
	}
	if errors := strings.Count(log, "level=ERROR") + strings.Count(log, `"level":"ERROR"`); told != 1 || code == fault && errors != 1 {
		t.Errorf("%d lines say it, %d are errors, want one of each:\n%s", told, errors, log)
	}
	for _, trace := range []string{"goroutine ", ".go:", "panic"} {
		if strings.Contains(log, trace) {
			t.Errorf("a stack:\n%s", log)
		}
	}
}

// TestWaitsForNATS: a service that NATS is away from says so at once, and now and then how often it has tried since.
func TestWaitsForNATS(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t)
	server.Stop()
	for _, service := range []string{"registry", "router", "ingest", "edge"} {
		t.Run(service, func(t *testing.T) {
			t.Parallel()
			args := []string{"--nats", server.URL(), "--ops", "127.0.0.1:0"}
			if service == "edge" {
				args = append(args, "--listen", "127.0.0.1:0")
			}
			p := stack.NewProcess(t, service, programs.Path(service), nil, args...)
			p.Start()
			const away = `level=WARN msg="NATS not reachable at \S+; is nats-server running\? start it with: nats-server -js"`
			p.Await(away)
			p.Await(away + `.* suppressed=\d\d`)
			ops := p.Await(`msg="ops is listening" .*address=(\S+)`)[0]
			if _, body, err := stack.Get("http://" + ops + "/readyz"); err != nil || !strings.Contains(body, "NATS not reachable at "+server.URL()) {
				t.Errorf("/readyz: %s, %v", body, err)
			}
			if status, body, err := stack.Get("http://" + ops + "/healthz"); err != nil || status != 200 {
				t.Errorf("/healthz: %d %s, %v", status, body, err)
			}
			if n := len(regexp.MustCompile(away).FindAllString(p.Log(), -1)); n != 2 {
				t.Errorf("%d lines about it:\n%s", n, p.Log())
			}
			if exit := p.Stop(syscall.SIGTERM); exit.Code != 0 || exit.Took > stopTime {
				t.Errorf("told to stop, it ended with %d after %s", exit.Code, exit.Took)
			}
		})
	}
}

// oldServer speaks as a nats-server of before does.
func oldServer(t *testing.T) (url string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				_, _ = io.WriteString(conn, `INFO {"version":"2.10.29","max_payload":1048576}`+"\r\n")
				for r := bufio.NewReader(conn); ; {
					line, err := r.ReadString('\n')
					if err != nil {
						return
					}
					if line == "PING\r\n" {
						_, _ = io.WriteString(conn, "PONG\r\n")
					}
				}
			})
		}
	})
	t.Cleanup(func() { ln.Close(); all.Wait() })
	return "nats://" + ln.Addr().String()
}
