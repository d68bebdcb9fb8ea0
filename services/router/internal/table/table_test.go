package table

import (
	"testing"

	"github.com/tickfan/tickfan/proto/tick"
)

func head(symbol string, epoch, seq uint64) tick.Head {
	return tick.Head{Symbol: []byte(symbol), Position: tick.Position{Epoch: epoch, Seq: seq}}
}

func TestTable(t *testing.T) {
	tab := New()
	if tab.Payload("A") != nil || tab.Len() != 0 {
		t.Fatal("an empty table has something")
	}
	for _, step := range []struct {
		head    tick.Head
		payload string
		newer   bool
	}{
		{head("A", 1, 5), "a1/5", true},
		{head("A", 1, 5), "again", false},
		{head("A", 1, 4), "older", false},
		{head("B", 1, 1), "b1/1", true},
		{head("A", 2, 1), "a2/1", true},
		{head("A", 1, 9), "of an earlier epoch", false},
	} {
		if e := tab.Put(step.head, []byte(step.payload)); (e != nil) != step.newer {
			t.Errorf("%s: newer is %v", step.payload, e != nil)
		}
	}
	got := map[string]string{}
	for e := range tab.All() {
		got[string(e.Symbol)] = string(e.Payload)
	}
	if len(got) != 2 || got["A"] != "a2/1" || got["B"] != "b1/1" || tab.Len() != 2 || string(tab.Payload("A")) != "a2/1" {
		t.Errorf("got %v", got)
	}
	for range tab.All() {
		break // an iterator that goes on would panic
	}
}

func TestPutOfAKnownSymbolDoesNotAllocate(t *testing.T) {
	tab := New()
	h, payload := head("BTC-USD", 1, 1), []byte("x")
	tab.Put(h, payload)
	if n := testing.AllocsPerRun(100, func() { h.Seq++; tab.Put(h, payload) }); n > 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
