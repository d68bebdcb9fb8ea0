package code

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestComeBackByBand(t *testing.T) {
	fault := func(c Close) bool { return c >= 4000 && c <= 4199 || c == 1002 || c == 1003 || c >= 1007 && c <= 1010 }
	for c := range Close(5000) {
		if c.ComeBack() == fault(c) {
			t.Errorf("close %d: come back %v", c, c.ComeBack())
		}
	}
	for c, want := range map[Close]bool{
		GoingAway: true, InternalError: true, Drain: true, Idle: true, 1000: true, 1006: true, 1012: true, 1013: true, 4399: true,
		ProtocolError: false, Unsupported: false, InvalidPayload: false, TooBig: false, TooManyErrors: false, 4199: false,
	} {
		if c.ComeBack() != want {
			t.Errorf("close %d: come back %v, want %v", c, !want, want)
		}
	}
}

func TestOf(t *testing.T) {
	coded := Errorf(BadPrice, "price %s", "x")
	if got := Of(fmt.Errorf("take price: %w", coded)); got != coded {
		t.Errorf("got %v", got)
	}
	got := Of(errors.New("password is hunter2"))
	if got.Code != Internal || strings.Contains(got.Message, "hunter2") {
		t.Errorf("an uncoded error is shown: %v", got)
	}
	if coded.Error() != "bad_price: price x" {
		t.Errorf("text %q", coded.Error())
	}
}

func TestQuoteIsShort(t *testing.T) {
	if got := Quote("a\nb"); got != `"a\nb"` {
		t.Errorf("got %s", got)
	}
	if got := Quote([]byte(strings.Repeat("x", 1<<20))); got != `"`+strings.Repeat("x", 40)+`"…` {
		t.Errorf("got %s", got)
	}
}
