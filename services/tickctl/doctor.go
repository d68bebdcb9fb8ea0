package tickctl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

type doctor struct {
	server  `embed:""`
	Clients int  `name:"clients" default:"100000" placeholder:"N" help:"How many clients an edge on this machine shall hold. Default: 100000."`
	JSON    bool `name:"json" help:"One JSON document."`
}

// Help is what kong shows beneath the flags.
func (*doctor) Help() string {
	return `Run it on the machine where an edge is to run, or in its container, as the same user. What the kernel's settings are about is in
docs/TUNING.md. Exit code 1: a check failed; warnings are what costs clients or time under load.`
}

// finding is the result of one check.
type finding struct {
	Check  string  `json:"check"`
	Result verdict `json:"result"`
	Found  string  `json:"found"`
	Change string  `json:"change,omitempty"` // what to do about it
}

// verdict is what a check says.
type verdict string

const (
	fine verdict = "ok"
	warn verdict = "warn"
	fail verdict = "fail"
)

// Run makes all checks, whatever the first ones say.
func (d *doctor) Run(ctx context.Context, s Streams) error {
	if d.Clients < 1 {
		return fmt.Errorf("--clients %d: 1 or more", d.Clients)
	}
	all := d.checkNATS(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	all = append(all, checkMachine(os.DirFS("/"), d.Clients)...)
	if d.JSON {
		if err := writeJSON(s.Out, struct {
			Checks []finding `json:"checks"`
		}{all}); err != nil {
			return err
		}
	} else if err := writeLines(s.Out, findingLines(all)...); err != nil {
		return err
	}
	var faults []error
	for _, f := range all {
		if f.Result == fail {
			faults = append(faults, fmt.Errorf("%s: %s", f.Check, f.Change))
		}
	}
	return errors.Join(faults...)
}

// findingLines has a line for each check, and beneath it what to change.
func findingLines(all []finding) (lines []string) {
	c := &columns{names: []string{"", "CHECK", "FOUND"}}
	for _, f := range all {
		c.add(string(f.Result), f.Check, f.Found)
	}
	for i, line := range c.lines()[1:] {
		lines = append(lines, line)
		if all[i].Change != "" {
			lines = append(lines, "      change: "+all[i].Change)
		}
	}
	return lines
}

const (
	// leastServer is the first nats-server with a time to live per key, which leases are made of, and testedServer that
	// with which Tickfan is tested.
	leastServer  = "2.11.0"
	testedServer = "2.15.2"

	skewWarn = 250 * time.Millisecond // ages that are measured across machines are off by it
	skewFail = time.Minute            // ingest refuses a price whose time is more than that ahead
	beatsFor = 1200 * time.Millisecond
)

// older tells whether a version comes before another; what follows a hyphen is not looked at, and of an odd one nobody knows.
func older(version, than string) bool {
	v, known := numbers(version)
	t, _ := numbers(than)
	if !known {
		return false
	}
	for i := range v {
		if v[i] != t[i] {
			return v[i] < t[i]
		}
	}
	return false
}

func numbers(version string) (n [3]int, ok bool) {
	version, _, _ = strings.Cut(strings.TrimPrefix(version, "v"), "-")
	_, err := fmt.Sscanf(version, "%d.%d.%d", &n[0], &n[1], &n[2])
	return n, err == nil
}

func (d *doctor) checkNATS(ctx context.Context) (all []finding) {
	nc, err := connect(ctx, d.NATS, d.Timeout)
	if err != nil {
		return []finding{{"NATS", fail, strings.ReplaceAll(err.Error(), "\n", "; "), "start nats-server -js, or name the right one with --nats"}}
	}
	defer nc.Close()
	all = append(all, checkVersion(nc))
	js, err := jetstream.New(nc)
	if err != nil {
		return append(all, finding{"JetStream", fail, err.Error(), "start nats-server with -js"})
	}
	all = append(all, d.checkJetStream(ctx, js), d.checkServerClock(ctx, js))
	return append(all, checkBeatClock(ctx, nc))
}

func checkVersion(nc *nats.Conn) finding {
	f := finding{Check: "NATS", Result: fine, Found: fmt.Sprintf("nats-server %s at %s", nc.ConnectedServerVersion(), nc.ConnectedUrlRedacted())}
	if rtt, err := nc.RTT(); err == nil {
		f.Found += ", " + short(rtt) + " away"
	}
	switch v := nc.ConnectedServerVersion(); {
	case older(v, leastServer):
		f.Result, f.Change = fail, "install nats-server "+testedServer+"; Tickfan needs "+leastServer+" or newer"
	case older(v, testedServer):
		f.Result, f.Change = warn, "install nats-server "+testedServer+", with which Tickfan is tested"
	}
	return f
}

func (d *doctor) checkJetStream(ctx context.Context, js jetstream.JetStream) finding {
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	info, err := js.AccountInfo(ctx)
	switch {
	case errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return finding{"JetStream", fail, "off for this account", "allow it in the server's configuration (accounts, jetstream: enabled)"}
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled):
		return finding{"JetStream", fail, "off", "start nats-server with -js"}
	case err != nil:
		return finding{"JetStream", fail, err.Error(), "a cluster needs a majority of its JetStream servers: start them"}
	}
	found := fmt.Sprintf("on, %s, %s on disk", count(info.Streams, "stream"), size(float64(info.Store)))
	if info.Domain == "" {
		return finding{"JetStream", fine, found + ", no domain: enough for one region", ""}
	}
	return finding{"JetStream", fine, found + ", domain " + info.Domain, ""}
}

// checkServerClock compares this computer's clock with that of the server which keeps TICKS.
func (d *doctor) checkServerClock(ctx context.Context, js jetstream.JetStream) finding {
	const name = "clock of NATS"
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	asked := time.Now()
	stream, err := js.Stream(ctx, subject.StreamTicks)
	if err != nil {
		return finding{name, warn, "not compared: stream " + subject.StreamTicks + ": " + err.Error(), "start ingest, which makes it"}
	}
	answered := time.Now()
	at := stream.CachedInfo().TimeStamp
	if at.IsZero() {
		return finding{name, warn, "not compared: the server does not tell its time", "install nats-server " + testedServer}
	}
	return skew(name, asked.Add(answered.Sub(asked)/2).Sub(at))
}

// checkBeatClock compares this computer's clock with ingest's, which is in its beats; what they need to come counts, too.
func checkBeatClock(ctx context.Context, nc *nats.Conn) finding {
	const name = "clock of ingest"
	beats := make(chan *nats.Msg, 64)
	sub, err := nc.ChanSubscribe(subject.Beat, beats)
	if err != nil {
		return finding{name, fail, err.Error(), "let this user subscribe to " + subject.Beat}
	}
	defer func() { _ = sub.Unsubscribe() }()
	over := time.NewTimer(beatsFor)
	defer over.Stop()
	heard, least := false, time.Duration(0)
	for {
		select {
		case msg := <-beats:
			b, err := tick.DecodeBeat(msg.Data)
			if off := time.Since(time.UnixMicro(b.Time)); err == nil && (!heard || off < least) {
				heard, least = true, off
			}
			continue
		case <-over.C:
		case <-ctx.Done():
		}
		if !heard {
			return finding{name, warn, "not compared: no beat of ingest heard", "start ingest, or see tickctl status"}
		}
		return skew(name, least)
	}
}

// skew judges how far this computer's clock is ahead of another.
func skew(name string, ahead time.Duration) finding {
	word := "ahead"
	if ahead < 0 {
		word = "behind"
	}
	f := finding{Check: name, Result: fine, Found: fmt.Sprintf("this one is %s %s", short(ahead.Abs()), word)}
	switch {
	case ahead.Abs() > skewFail:
		f.Result, f.Change = fail, "set the clocks by NTP (chrony): prices with a time of more than 1m ahead are refused"
	case ahead.Abs() > skewWarn:
		f.Result, f.Change = warn, "set the clocks by NTP (chrony): ages and delays are off by as much"
	}
	return f
}

// checkMachine reads what Linux tells of itself below root.
func checkMachine(root fs.FS, clients int) []finding {
	if _, err := fs.Stat(root, "proc/sys"); err != nil {
		return []finding{{"kernel", warn, "not looked at on " + runtime.GOOS, "run it on Linux, where the edge is to run"}}
	}
	k := kernel{root: root, clients: clients}
	return k.check()
}
