package tickctl

import (
	"strings"
	"testing"
	"time"

	tickfan "github.com/tickfan/tickfan/libs/sdk/go"
	"github.com/tickfan/tickfan/proto/tick"
)

// shown is what a terminal shows after it was written to. It knows what screen writes and no more.
func shown(text string) []string {
	var lines []string
	at := 0
	for line := range strings.SplitAfterSeq(text, "\n") {
		for strings.HasPrefix(line, "\x1b[") {
			end := strings.IndexAny(line, "AJ")
			switch n := 0; line[end] {
			case 'A':
				for _, d := range line[2:end] {
					n = 10*n + int(d-'0')
				}
				at -= n
			case 'J':
				lines = lines[:at]
			}
			line = line[end+1:]
		}
		content, ok := strings.CutSuffix(line, "\x1b[K\n")
		if !ok {
			continue
		}
		if at == len(lines) {
			lines = append(lines, "")
		}
		lines[at] = strings.TrimPrefix(content, "\r")
		at++
	}
	return lines
}

func TestLive(t *testing.T) {
	now := time.UnixMicro(1763769600_000000)
	var out strings.Builder
	l := newLive(&screen{out: &out, size: func() (int, int) { return 0, 0 }}, func(t tickfan.Tick) time.Duration { return now.Sub(t.Time()) }, []string{"BTC-USD", "NEW-USD", "BTC-USD"})
	l.now = func() time.Time { return now }
	l.began = now
	if err := l.subscribed(tickfan.Ack{}); err != nil {
		t.Fatal(err)
	}
	say := func(e tickfan.Event) {
		t.Helper()
		if err := l.event(e); err != nil {
			t.Fatal(err)
		}
	}
	sees := func(want ...string) {
		t.Helper()
		if err := l.redraw(); err != nil {
			t.Fatal(err)
		}
		if got := shown(out.String()); strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("shows\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	price := func(seq uint64, p string) tickfan.Tick {
		return tickfan.Tick{Symbol: "BTC-USD", Position: tick.Position{Epoch: 1, Seq: seq},
			Quote: tick.Quote{Price: tick.MustDecimal(p), Bid: tick.MustDecimal("64123.50"), TS: now.Add(-12 * time.Millisecond).UnixMicro()}}
	}
	clock := now.Format(clockForm)
	say(tickfan.Connected{URL: "ws://x/v1/ws"})
	say(price(1, "64123.51"))
	say(price(2, "64123.6"))
	sees("SYMBOL          PRICE       BID  ASK  SEQ  UPDATES/S   AGE",
		"BTC-USD       64123.6  64123.50    -    2        2.0  12ms",
		"NEW-USD  no price yet         -    -    -          -     -",
		"", clock+"  connected to ws://x/v1/ws")

	now = now.Add(4 * time.Second) // two of what is now six in four seconds
	for seq := range uint64(4) {
		say(price(3+seq, "7"))
	}
	say(tickfan.Stale{Age: 3200 * time.Millisecond})
	clock = now.Format(clockForm)
	sees("SYMBOL          PRICE       BID  ASK  SEQ  UPDATES/S         AGE",
		"BTC-USD             7  64123.50    -    6        1.5  12ms stale",
		"NEW-USD  no price yet         -    -    -          -           -",
		"", clock+"  stale: nothing heard from ingest for 3.2s; prices may be old")

	now = now.Add(time.Hour)
	clock = now.Format(clockForm)
	say(tickfan.Fresh{})
	say(tickfan.Gap{Symbol: "BTC-USD", Epoch: 1, From: 7, To: 8})
	sees("SYMBOL          PRICE       BID  ASK  SEQ  UPDATES/S     AGE",
		"BTC-USD             7  64123.50    -    6        0.0  1h0m0s",
		"NEW-USD  no price yet         -    -    -          -       -",
		"", clock+"  BTC-USD  gap: ticks 7 to 8 of epoch 1 are missing")
}

// A small window shows what fits: what scrolled away could not be drawn over.
func TestScreenIsSmall(t *testing.T) {
	var out strings.Builder
	s := &screen{out: &out, size: func() (int, int) { return 9, 4 }}
	for range 2 {
		if err := s.draw([]string{"one", "two", "a very long line", "four", "five"}); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(shown(out.String()), "\n"); got != "one\ntwo\n... 3 mor" {
		t.Errorf("shows\n%s", got)
	}
	if err := s.draw([]string{"end"}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(shown(out.String()), "\n"); got != "end" {
		t.Errorf("shows\n%s", got)
	}
}

func TestScreenIsForTerminals(t *testing.T) {
	if s := newScreen(&strings.Builder{}); s != nil {
		t.Error("a buffer is no terminal")
	}
}
