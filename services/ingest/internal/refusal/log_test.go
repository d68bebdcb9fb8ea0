package refusal

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tickfan/tickfan/proto/code"
)

func TestOneLineInAWhilePerCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := New(slog.New(slog.NewTextHandler(&out, nil)))
		lines := func() []string {
			defer out.Reset()
			return strings.FieldsFunc(out.String(), func(r rune) bool { return r == '\n' })
		}
		bad := code.Errorf(code.BadPrice, `price "abc": not a decimal`)

		l.Refuse("ingest.BTC-USD", bad)
		got := lines()
		if len(got) != 1 {
			t.Fatalf("%d lines, want 1", len(got))
		}
		for _, want := range []string{"level=WARN", "subject=ingest.BTC-USD", "code=bad_price", "not a decimal"} {
			if !strings.Contains(got[0], want) {
				t.Errorf("%s\nlacks %s", got[0], want)
			}
		}
		for range 41 {
			l.Refuse("ingest.BTC-USD", bad)
		}
		if got := lines(); len(got) != 0 {
			t.Fatalf("lines within the while: %q", got)
		}
		l.Refuse("ingest.btc", code.Errorf(code.BadSymbol, "x"))
		if got := lines(); len(got) != 1 {
			t.Fatalf("another code has %d lines, want 1", len(got))
		}
		time.Sleep(every)
		l.Refuse("ingest.BTC-USD", bad)
		if got := lines(); len(got) != 1 || !strings.Contains(got[0], "suppressed=41") {
			t.Fatalf("got %q, want one line with suppressed=41", got)
		}

		counts := map[code.Code]int64{}
		l.Counts(func(c code.Code, n int64) { counts[c] = n })
		if counts[code.BadPrice] != 43 || counts[code.BadSymbol] != 1 {
			t.Errorf("counts %v", counts)
		}
	})
}

func TestLongSubjectAndUncodedError(t *testing.T) {
	var out bytes.Buffer
	l := New(slog.New(slog.NewTextHandler(&out, nil)))
	l.Refuse("ingest."+strings.Repeat("X", 4000), errors.New("disk on fire"))
	if out.Len() > 500 {
		t.Errorf("a line of %d bytes", out.Len())
	}
	if !strings.Contains(out.String(), "code=internal") || !strings.Contains(out.String(), "disk on fire") {
		t.Errorf("%s\nlacks the code or the cause", out.String())
	}
}
