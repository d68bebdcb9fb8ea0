package e2e

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tickfan/tickfan/libs/natstest"
	tickfan "github.com/tickfan/tickfan/libs/sdk/go"
	"github.com/tickfan/tickfan/tests/stack"
)

// TestDev: the all-in-one says where to go, serves, takes a price by NATS, and leaves nothing behind.
func TestDev(t *testing.T) {
	t.Parallel()
	d := stack.NewDev(t, programs)
	d.Start("--listen", "127.0.0.1:0", "--ops", "127.0.0.1:0", "--nats-port", "0")
	lines := func() []string { return strings.Split(strings.TrimSpace(d.Printed()), "\n") }
	natstest.Eventually(t, patience, func() bool { return strings.HasSuffix(d.Printed(), "\n") && len(lines()) >= 5 }, "dev has printed")
	said := map[string]string{}
	for i, l := range lines() {
		name, value, _ := strings.Cut(l, " ")
		said[name] = strings.TrimSpace(value)
		if want := []string{"page", "publish", "watch", "ops", "data"}; i >= len(want) || name != want[i] {
			t.Fatalf("printed, line %d:\n%s", i+1, d.Printed())
		}
	}
	page := said["page"]
	url := find(t, said["publish"], `nats://\S+`)
	data, _, _ := strings.Cut(said["data"], " ")

	if status, body, err := stack.Get(page); err != nil || status != http.StatusOK || !strings.Contains(body, "<html") {
		t.Errorf("page %s: %d, %v:\n%.200s", page, status, err, body)
	}
	if status, body, err := stack.Get(find(t, said["ops"], `http://\S+/readyz`)); err != nil || status != http.StatusOK {
		t.Errorf("ops: %d %s, %v", status, body, err)
	}
	if _, err := os.Stat(data); err != nil {
		t.Errorf("data folder: %v", err)
	}
	symbols := func() (got []string) {
		status, body, err := stack.Get(page + "/v1/symbols")
		var answer struct{ Symbols []string }
		if err != nil || status != http.StatusOK || json.Unmarshal([]byte(body), &answer) != nil {
			return nil
		}
		return answer.Symbols
	}
	natstest.Eventually(t, patience, func() bool { return len(symbols()) >= 20 && slices.Contains(symbols(), "BTC-USD") },
		"prices of 20 symbols, BTC-USD among them")

	c := dialURL(t, "client", tickfan.JSON, page)
	c.subscribe([]string{"BTC-USD"}, tickfan.Every())
	natstest.Eventually(t, patience, func() bool { return len(c.history("BTC-USD").ticks()) >= 3 }, "prices move")
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	published := set(t, nc, "BTC-USD", "64123.51")
	c.endsOn("BTC-USD", published) // the generator leaves the symbol alone for a while
	_ = c.Close()

	e := d.Stop(syscall.SIGINT)
	if e.Code != 0 || e.Took > stopTime {
		t.Errorf("exit code %d after %s", e.Code, e.Took)
	}
	if _, err := os.Stat(data); !os.IsNotExist(err) {
		t.Errorf("data folder after the end: %v", err)
	}
	if left, err := os.ReadDir(d.Temp()); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestDevKeepsData: with --data a price is there again after a restart.
func TestDevKeepsData(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	run := func(use func(page, nats string)) {
		t.Helper()
		d := stack.NewDev(t, programs)
		d.Start("--listen", "127.0.0.1:0", "--ops", "127.0.0.1:0", "--nats-port", "0", "--data", data, "--source", "none")
		natstest.Eventually(t, patience, func() bool { return strings.Count(d.Printed(), "\n") >= 5 }, "dev has printed")
		if !strings.Contains(d.Printed(), data) {
			t.Errorf("data folder %s is not named:\n%s", data, d.Printed())
		}
		use(find(t, d.Printed(), `http://\S+`), find(t, d.Printed(), `nats://\S+`))
		if e := d.Stop(syscall.SIGINT); e.Code != 0 || e.Took > stopTime {
			t.Errorf("exit code %d after %s", e.Code, e.Took)
		}
	}
	var kept sent
	run(func(_, url string) {
		nc, err := nats.Connect(url)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		kept = set(t, nc, "KEPT-USD", "12.340")
	})
	run(func(page, _ string) {
		c := dialURL(t, "client", tickfan.MessagePack, page)
		defer c.Close()
		c.subscribe([]string{"KEPT-USD"})
		c.endsOn("KEPT-USD", kept)
	})
}

// TestDevPortTaken: one line says which port, which flag, and what would do.
func TestDevPortTaken(t *testing.T) {
	t.Parallel()
	for _, flag := range []string{"--listen", "--ops", "--nats-port"} {
		t.Run(flag, func(t *testing.T) {
			t.Parallel()
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			taken := ln.Addr().String()
			_, port, _ := strings.Cut(taken, ":")
			args := map[string]string{"--listen": "127.0.0.1:0", "--ops": "127.0.0.1:0", "--nats-port": "0"}
			args[flag] = taken
			example := flag + ` 127\.0\.0\.1:\d+`
			if flag == "--nats-port" {
				args[flag], example = port, flag+` \d+`
			}
			d := stack.NewDev(t, programs)
			var all []string
			for f, v := range args {
				all = append(all, f, v)
			}
			d.Start(all...)
			if e := d.Wait(time.Now()); e.Code != 1 {
				t.Errorf("exit code %d", e.Code)
			}
			faults := slices.Collect(strings.Lines(d.Log()))
			if len(faults) != 1 || !strings.Contains(faults[0], "port "+port+" is taken") || !regexp.MustCompile(example).MatchString(faults[0]) {
				t.Errorf("said:\n%s\nwant one line with port %s, %s and a free example", strings.Join(faults, ""), port, flag)
			}
			if d.Printed() != "" {
				t.Errorf("printed:\n%s", d.Printed())
			}
			if left, err := os.ReadDir(d.Temp()); err != nil || len(left) != 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// find is the part of a text that a pattern matches.
func find(t *testing.T, text, pattern string) string {
	t.Helper()
	found := regexp.MustCompile(pattern).FindString(text)
	if found == "" {
		t.Fatalf("no %s in:\n%s", pattern, text)
	}
	return found
}
