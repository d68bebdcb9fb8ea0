package bucket

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/tickfan/tickfan/proto/tick"
)

func at(epoch, seq uint64, prev ...uint64) *tick.Tick {
	t := &tick.Tick{Symbol: "X", Position: tick.Position{Epoch: epoch, Seq: seq}, Quote: tick.Quote{Price: tick.MustDecimal("1")}}
	if len(prev) == 2 {
		t.Prev = tick.Position{Epoch: prev[0], Seq: prev[1]}
	}
	return t
}

// Ticks in any order, doubled, some missing: a reader gets those that came, in order, once.
func TestRingSortsWhatComes(t *testing.T) {
	for range 200 {
		var r ring
		want := map[uint64]bool{}
		var seqs []uint64
		for s := range uint64(300) {
			if rand.IntN(10) > 0 {
				seqs = append(seqs, s+1)
				want[s+1] = true
			}
			if rand.IntN(10) == 0 && len(seqs) > 0 {
				seqs = append(seqs, seqs[rand.IntN(len(seqs))])
			}
		}
		rand.Shuffle(len(seqs), func(i, j int) { seqs[i], seqs[j] = seqs[j], seqs[i] })
		for _, s := range seqs {
			r.add(at(1, s), 0)
		}
		if len(r.entries) != len(want) {
			t.Fatalf("%d ticks, want %d", len(r.entries), len(want))
		}
		last := uint64(0)
		for _, e := range r.entries {
			if e.Seq <= last || !want[e.Seq] {
				t.Fatalf("seq %d after %d", e.Seq, last)
			}
			last = e.Seq
		}
	}
}

func TestRingIsBounded(t *testing.T) {
	var r ring
	for s := range uint64(10000) {
		r.add(at(1, s+1), 0)
		if len(r.entries) > 2*ringSize {
			t.Fatal("ring grows without bound")
		}
	}
	if r.entries[len(r.entries)-1].Seq != 10000 || len(r.entries) < ringSize {
		t.Errorf("%d ticks to %d", len(r.entries), r.entries[len(r.entries)-1].Seq)
	}
	if r.add(at(1, 1), 0) {
		t.Error("a tick that fell out comes back")
	}
	if i := r.after(tick.Position{Epoch: 1, Seq: 5}); i != 0 {
		t.Errorf("a reader that fell out goes on at %d", i)
	}
}

func TestGaps(t *testing.T) {
	p := func(e, s uint64) tick.Position { return tick.Position{Epoch: e, Seq: s} }
	for _, x := range []struct {
		name string
		at   tick.Position
		t    *tick.Tick
		want []gap
	}{
		{"next", p(1, 4), at(1, 5), nil},
		{"start", p(0, 0), at(1, 5), nil},
		{"missing in an epoch", p(1, 4), at(1, 8), []gap{{1, 5, 7}}},
		{"new epoch, nothing missing", p(1, 4), at(2, 1, 1, 4), nil},
		{"new epoch, end of the old one missing", p(1, 4), at(2, 1, 1, 9), []gap{{1, 5, 9}}},
		{"new epoch, its start missing", p(1, 4), at(2, 3), []gap{{1, 5, 0}, {2, 1, 2}}},
		{"two epochs on", p(1, 4), at(3, 1, 2, 6), []gap{{1, 5, 0}, {2, 1, 6}}},
		{"new epoch that knows of nothing before", p(1, 4), at(2, 1), []gap{{1, 5, 0}}},
		{"new epoch that knows less than the reader", p(1, 4), at(2, 1, 1, 2), nil},
	} {
		var got []gap
		if !follows(x.at, x.t) {
			got = gaps(x.at, x.t)
		}
		if !reflect.DeepEqual(got, x.want) {
			t.Errorf("%s: %v, want %v", x.name, got, x.want)
		}
	}
}
