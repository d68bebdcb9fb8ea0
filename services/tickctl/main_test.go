package tickctl

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/tickfan/tickfan/libs/natstest"
)

func TestMain(m *testing.M) { natstest.Main(m) }

// buffer is an output that a test reads while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// run is one command line to its end.
func run(t *testing.T, stdin string, args ...string) (code int, out, err string) {
	t.Helper()
	var stdout, stderr buffer
	code = command(t.Context(), args, Streams{In: strings.NewReader(stdin), Out: &stdout, Err: &stderr})
	return code, stdout.String(), stderr.String()
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{}, {"--help"}, {"pub", "--help"}, {"watch", "--help"}, {"decode", "-h"}, {"status", "--help"}, {"doctor", "--help"}, {"completion", "--help"}} {
		if code, out, err := run(t, "", args...); code != exitDone || !strings.Contains(out, "Usage: tickctl") || err != "" {
			t.Errorf("%v: code %d, out %q, err %q", args, code, out, err)
		}
	}
	for _, args := range [][]string{{"nonsense"}, {"pub"}, {"pub", "BTC-USD"}, {"watch"}, {"watch", "A", "--max-rate", "x"}, {"symbol"}, {"drain"}, {"completion"}} {
		if code, out, err := run(t, "", args...); code != exitUsage || out != "" || strings.Count(err, "\n") != 1 {
			t.Errorf("%v: code %d, out %q, err %q", args, code, out, err)
		}
	}
}

// What looks like a flag is a price that no symbol has.
func TestNegativePrice(t *testing.T) {
	for _, args := range [][]string{{"BTC-USD", "-1"}, {"BTC-USD", "-.5"}, {"BTC-USD", "1", "--bid", "-0.25"}} {
		code, out, err := run(t, "", append([]string{"pub"}, args...)...)
		if want := fmt.Sprintf("tickctl: price %q: not a decimal", args[len(args)-1]); code != exitUsage || out != "" || !strings.HasPrefix(err, want) {
			t.Errorf("%v: code %d, out %q, err %q", args, code, out, err)
		}
	}
	if _, _, err := run(t, "", "pub", "BTC-USD", "-x"); !strings.Contains(err, "unknown flag -x") {
		t.Errorf("err %q", err)
	}
}

func TestNATSIsForThoseWhoAskIt(t *testing.T) {
	for command, want := range map[string]bool{
		"pub": true, "status": true, "edges": true, "buckets": true, "symbol": true, "drain": true, "top": true, "doctor": true,
		"watch": false, "decode": false, "completion": false,
	} {
		if _, out, _ := run(t, "", command, "--help"); strings.Contains(out, "--nats") != want {
			t.Errorf("%s: %s", command, out)
		}
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr buffer
	s := Streams{Out: &stdout, Err: &stderr}
	if code := command(ctx, []string{"watch", "BTC-USD", "--edge", "http://127.0.0.1:1"}, s); code != exitDone || stderr.String() != "" {
		t.Errorf("watch: code %d, %s", code, &stderr)
	}
	if code := command(ctx, []string{"pub", "BTC-USD", "1", "--nats", "nats://127.0.0.1:1"}, s); code != exitFault {
		t.Errorf("pub: code %d", code)
	}
}
