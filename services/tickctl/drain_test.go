package tickctl

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/proto/control"
)

func TestDrain(t *testing.T) {
	local := newRegion(t, "local")
	local.change(func() { local.falling = 25 })
	t.Setenv("TICKFAN_NATS", local.URL())
	code, out, err := run(t, "", "drain", string(edgeB), "--json", "--timeout", "20s")
	const want = `{"edge":"edge-b-ef34gh","connections":25,"state":"draining"}
{"edge":"edge-b-ef34gh","connections":0,"state":"draining"}
{"edge":"edge-b-ef34gh","connections":0,"state":"gone"}
`
	if code != exitDone || err != "" || out != want {
		t.Errorf("code %d, err %q, out\n%s", code, err, out)
	}
	code, out, err = run(t, "", "drain", string(edgeA), "--no-wait", "--force")
	if code != exitDone || err != "" || strings.Count(out, "\n") != 1 || !strings.HasSuffix(out, "  edge-a-ab12cd  told to drain; it hears of it within 3s\n") {
		t.Errorf("code %d, err %q, out %q", code, err, out)
	}
	local.change(func() {
		if !slices.Equal(local.told, []string{string(edgeB), string(edgeA)}) {
			t.Errorf("told %q", local.told)
		}
	})
	code, _, err = run(t, "", "drain", string(edgeB))
	if code != exitFault || !strings.Contains(err, "drain edge-b-ef34gh: no_edge: edge edge-b-ef34gh has no lease here; tickctl edges lists them") {
		t.Errorf("code %d, err %q", code, err)
	}
	if code, _, err := run(t, "", "drain", "edge b"); code != exitFault || !strings.Contains(err, "bad_name") || !strings.Contains(err, "tickctl edges") {
		t.Errorf("code %d, err %q", code, err)
	}
}

// An edge whose clients have nowhere to go is drained only by force.
func TestDrainOfTheOnlyEdge(t *testing.T) {
	local := newRegion(t, "local")
	const want = "tickctl: no other edge takes clients, and the 250 connections of edge-a-ab12cd would be cut off: start another one, or say --force\n"
	for name, change := range map[string]func(other *control.Lease){
		"full":     func(l *control.Lease) { l.Connections = l.Capacity },
		"draining": func(l *control.Lease) { l.Draining = true },
		"silent":   func(l *control.Lease) { l.Renewed = time.Now().Add(-14 * time.Second).UnixMicro() },
	} {
		local.change(func() {
			other := control.Lease{Edge: edgeB, Capacity: 1000, Connections: 50}
			change(&other)
			local.edges[1] = other
		})
		if code, out, err := run(t, "", "drain", string(edgeA), "--nats", local.URL()); code != exitFault || out != "" || err != want {
			t.Errorf("%s: code %d, out %q, err %q", name, code, out, err)
		}
	}
	local.change(func() {
		if len(local.told) > 0 {
			t.Errorf("told %q", local.told)
		}
		local.edges[0].Drain = true // it was told before: now somebody wants to see how it goes
	})
	if code, _, err := run(t, "", "drain", string(edgeA), "--no-wait", "--nats", local.URL()); code != exitDone || err != "" {
		t.Errorf("told before: code %d, err %q", code, err)
	}
}

// An edge that was not heard when its lease went has not ended by itself.
func TestDrainedEdgeDies(t *testing.T) {
	local := newRegion(t, "local")
	local.change(func() { local.falling, local.edges[1].Renewed = 1, time.Now().Add(-12*time.Second).UnixMicro() })
	code, out, err := run(t, "", "drain", string(edgeB), "--json", "--nats", local.URL(), "--timeout", "20s")
	if code != exitFault || !regexp.MustCompile(`{"edge":"edge-b-ef34gh","connections":4\d,"state":"died"}\n$`).MatchString(out) ||
		!regexp.MustCompile(`edge edge-b-ef34gh died while it drained, with 4\d connections at last: it was not heard for 1\d`).MatchString(err) {
		t.Errorf("code %d, err %q, out\n%s", code, err, out)
	}
}

// Who stops looking does not stop the edge, and that is no fault.
func TestDrainInterrupted(t *testing.T) {
	local := newRegion(t, "local")
	ctx, cancel := context.WithCancel(t.Context())
	var stdout, stderr buffer
	ended := make(chan int, 1)
	go func() {
		ended <- command(ctx, []string{"drain", string(edgeB), "--nats", local.URL()}, Streams{Out: &stdout, Err: &stderr})
	}()
	natstest.Eventually(t, 10*time.Second, func() bool { return strings.Contains(stdout.String(), "  edge-b-ef34gh  50 connections, draining\n") }, "it is shown")
	cancel()
	if code := <-ended; code != exitDone || stderr.String() != "" {
		t.Errorf("code %d, err %q", code, &stderr)
	}
}
