package natsd_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/tickfan/tickfan/libs/natsd"
	"github.com/tickfan/tickfan/libs/ops"
)

func TestTakenPort(t *testing.T) {
	first, err := natsd.Start(natsd.Options{Port: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	_, err = natsd.Start(natsd.Options{Port: first.Port()})
	var taken *ops.PortTakenError
	if !errors.As(err, &taken) {
		t.Fatalf("no PortTakenError: %v", err)
	}
	want := fmt.Sprintf("port %d is taken; choose another with --nats-port, e.g. --nats-port %s", first.Port(), taken.Example)
	if !strings.HasSuffix(err.Error(), want) || strings.Contains(taken.Example, ":") {
		t.Errorf("%q, want at its end %q", err, want)
	}
}

func TestMonitorAndLog(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s, err := natsd.Start(natsd.Options{Port: -1, HTTPPort: -1, Name: "embedded", JetStream: true, StoreDir: t.TempDir(), Domain: "local", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(s.MonitorURL() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if resp.StatusCode != 200 {
		t.Error(resp.Status)
	}
	if want := fmt.Sprintf("nats://127.0.0.1:%d", s.Port()); s.URL() != want {
		t.Errorf("URL %s, want %s", s.URL(), want)
	}
	s.Close()
	if !strings.Contains(out.String(), "Server is ready") {
		t.Errorf("log: %s", out.String())
	}
}

func TestFaults(t *testing.T) {
	for _, o := range []natsd.Options{
		{Port: -1, JetStream: true},
		{Port: -1, Host: "192.0.2.1"},
		{Port: -1, JetStream: true, StoreDir: "/dev/null/x"},
	} {
		if s, err := natsd.Start(o); err == nil {
			s.Close()
			t.Errorf("%+v: no error", o)
		} else {
			t.Log(err)
		}
	}
}
