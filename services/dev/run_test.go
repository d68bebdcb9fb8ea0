package dev

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tickfan/tickfan/libs/conf"
	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/libs/ops"
)

func TestMain(m *testing.M) { natstest.Main(m) }

func parse(t *testing.T, args ...string) (cfg Config) {
	t.Helper()
	if _, err := conf.Parse("dev", "", &cfg, args, Defaults()); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// Run ends by its context within 5 seconds, and nothing outlives it: no goroutine, no file.
func TestRunLeavesNothingBehind(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	cfg := parse(t, "--listen", "127.0.0.1:0", "--ops", "127.0.0.1:0", "--nats-port", "0")
	mux, err := ops.New("dev")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = mux.Close(context.Background()) }()
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan struct{}), make(chan error, 1)
	var said bytes.Buffer
	go func() {
		done <- Run(ctx, cfg, ops.Deps{Log: slog.New(slog.DiscardHandler), Ops: mux, Ready: func() { close(ready) }}, &said)
	}()
	select {
	case <-ready:
	case err := <-done:
		t.Fatalf("Run: %v", err)
	case <-time.After(time.Minute):
		t.Fatal("not ready")
	}
	page, _, _ := strings.Cut(strings.TrimSpace(strings.TrimPrefix(said.String(), "page")), "\n")
	resp, err := http.Get(page)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("page: %s", resp.Status)
	}

	began := time.Now()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s to stop", took)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestBanner(t *testing.T) {
	for _, x := range []struct {
		name string
		args []string
		nats string // what the embedded one listens on
		data string
		want string
	}{
		{"as it comes", nil, "nats://127.0.0.1:4222", "/tmp/x", `page     http://localhost:8080
publish  nats pub ingest.BTC-USD '{"price":"64123.51"}'
watch    bin/tickctl watch BTC-USD
ops      http://localhost:9090/readyz and /metrics
data     /tmp/x (removed at the end; keep it with --data)
`},
		{"other ports", []string{"--listen", ":8081", "--ops", "10.0.0.7:9191", "--data", "/var/x"}, "nats://127.0.0.1:4333", "/var/x", `page     http://localhost:8081
publish  nats --server nats://127.0.0.1:4333 pub ingest.BTC-USD '{"price":"64123.51"}'
watch    bin/tickctl watch --edge http://localhost:8081 BTC-USD
ops      http://10.0.0.7:9191/readyz and /metrics
data     /var/x
`},
		{"another NATS", []string{"--nats", "nats://n1:4222"}, "nats://n1:4222", "", `page     http://localhost:8080
publish  nats --server nats://n1:4222 pub ingest.BTC-USD '{"price":"64123.51"}'
watch    bin/tickctl watch BTC-USD
ops      http://localhost:9090/readyz and /metrics
data     in nats://n1:4222
`},
		{"TLS", []string{"--tls-cert", "c.pem", "--tls-key", "k.pem"}, "nats://127.0.0.1:4222", "/tmp/x", `page     https://localhost:8080
publish  nats pub ingest.BTC-USD '{"price":"64123.51"}'
watch    bin/tickctl watch --edge https://localhost:8080 BTC-USD
ops      http://localhost:9090/readyz and /metrics
data     /tmp/x (removed at the end; keep it with --data)
`},
		{"a password", []string{"--nats", "nats://me:secret@n1:4222"}, "nats://me:secret@n1:4222", "", `page     http://localhost:8080
publish  nats --server nats://me:xxxxx@n1:4222 pub ingest.BTC-USD '{"price":"64123.51"}'
watch    bin/tickctl watch BTC-USD
ops      http://localhost:9090/readyz and /metrics
data     in nats://me:xxxxx@n1:4222
`},
	} {
		cfg := parse(t, x.args...)
		cfg.NATS = x.nats
		var out strings.Builder
		banner(&out, cfg, x.data)
		if out.String() != x.want {
			t.Errorf("%s: got\n%swant\n%s", x.name, &out, x.want)
		}
	}
}
