package quiet_test

import (
	"bytes"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tickfan/tickfan/libs/quiet"
)

func TestOneLineInAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := quiet.New(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{
			ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			}})), 10*time.Second)
		expect := func(want string) {
			t.Helper()
			if got := out.String(); got != want {
				t.Errorf("the log has\n%s\nwant\n%s", got, want)
			}
			out.Reset()
		}

		l.Warn("a", "first", "n", 1)
		expect("level=WARN msg=first n=1\n")
		l.Warn("a", "second")
		expect("")
		l.Error("b", "other") // one trouble does not hide another
		expect("level=ERROR msg=other\n")
		time.Sleep(9 * time.Second)
		l.Warn("a", "third")
		expect("")
		time.Sleep(time.Second)
		l.Warn("a", "fourth", "n", 4)
		expect("level=WARN msg=fourth n=4 suppressed=2\n")
		time.Sleep(10 * time.Second)
		l.Warn("a", "fifth")
		expect("level=WARN msg=fifth\n")

		if !l.Over("a") || l.Over("a") || l.Over("never") {
			t.Error("only what came is over, and once")
		}
		l.Warn("a", "again")
		expect("level=WARN msg=again\n")
	})
}
