package tickctl

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/tick"
)

// terminal is a real one of a size, and what was written to it so far, with its own line ends.
func terminal(t *testing.T, width, height uint16) (tty *os.File, written func() string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: width, Row: height})
	}
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out buffer
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for p := make([]byte, 4096); ; {
			n, err := master.Read(p)
			_, _ = out.Write(p[:n])
			if err != nil {
				return // the terminal's other end is closed
			}
		}
	}()
	t.Cleanup(func() {
		_ = tty.Close()
		<-ended
		_ = master.Close()
	})
	return tty, func() string {
		_ = tty.Close()
		<-ended
		return strings.ReplaceAll(out.String(), "\r\n", "\n")
	}
}

// On a terminal watch draws a table in place, and with --lines or --json it does not.
func TestWatchOnTerminal(t *testing.T) {
	url := (&fakeEdge{script: func(_ func(session.Message), say func(tick.Tick), _ func(uint16)) {
		say(btc(1, "64123.51"))
		say(btc(2, "64123.60"))
	}}).start(t)
	t.Setenv("TERM", "xterm")
	for _, test := range []struct {
		flag string
		live bool
	}{{"", true}, {"--lines", false}, {"--json", false}} {
		tty, written := terminal(t, 120, 24)
		args := []string{"watch", "BTC-USD", "NEW-USD", "--count", "2", "--every", "--edge", url}
		if test.flag != "" {
			args = append(args, test.flag)
		}
		var stderr buffer
		if code := command(t.Context(), args, Streams{Out: tty, Err: &stderr}); code != exitDone || stderr.String() != "" {
			t.Errorf("%s: code %d, err %q", test.flag, code, &stderr)
		}
		text := written()
		if got := strings.Contains(text, "\x1b["); got != test.live {
			t.Errorf("%s: drawn in place: %v\n%q", test.flag, got, text)
		}
		if !test.live {
			continue
		}
		lines := shown(text)
		if len(lines) != 5 || !strings.HasPrefix(lines[0], "SYMBOL ") || !strings.Contains(lines[1], "64123.60") || !strings.Contains(lines[2], "no price yet") || !strings.Contains(lines[4], "connected to ws://") {
			t.Errorf("shows\n%s", strings.Join(lines, "\n"))
		}
	}
}

func TestTopOnTerminal(t *testing.T) {
	local := newRegion(t, "local")
	t.Setenv("TERM", "xterm")
	tty, written := terminal(t, 120, 24)
	var stderr buffer
	if code := command(t.Context(), []string{"top", "-n", "2", "--interval", "100ms", "--nats", local.URL()}, Streams{Out: tty, Err: &stderr}); code != exitDone || stderr.String() != "" {
		t.Errorf("code %d, err %q", code, &stderr)
	}
	if lines := shown(written()); len(lines) != 5 || !strings.HasPrefix(lines[2], "EDGE ") || !strings.HasPrefix(lines[3], string(edgeA)) {
		t.Errorf("shows\n%s", strings.Join(lines, "\n"))
	}
}
