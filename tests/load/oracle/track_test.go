package oracle

import (
	"strings"
	"testing"
)

// e is the epoch of the tests that have only one.
const e = 1763769600

// at is a tick whose seq is its number.
func at(number uint64) Tick { return Tick{Number: number, Epoch: e, Seq: number} }

// play gives a fresh track the numbers as ticks of a right numbering.
func play(m Mode, numbers ...uint64) (Counts, Track) {
	var c Counts
	var t Track
	for _, n := range numbers {
		t.Tick(&c, m, at(n))
	}
	return c, t
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		name    string
		mode    Mode
		numbers []uint64
		want    Counts
		last    uint64
	}{
		{"latest in order", Latest, []uint64{7, 8, 9}, Counts{}, 9},
		{"latest conflated", Latest, []uint64{7, 12, 13}, Counts{Skipped: 4}, 13},
		{"latest backwards", Latest, []uint64{7, 9, 8, 10}, Counts{Skipped: 1, Backwards: 1}, 10},
		{"latest ends backwards", Latest, []uint64{7, 9, 8}, Counts{Skipped: 1, Backwards: 1}, 8},
		{"latest repeated", Latest, []uint64{7, 7, 8, 8}, Counts{Repeated: 2}, 8},
		{"every in order", Every, []uint64{7, 8, 9}, Counts{}, 9},
		{"every drops one", Every, []uint64{7, 9}, Counts{Lost: 1}, 9},
		{"every drops three", Every, []uint64{7, 11, 12}, Counts{Lost: 3}, 12},
		{"every swaps two", Every, []uint64{7, 9, 8, 10}, Counts{Backwards: 1}, 10},
		{"every out of the middle of a hole", Every, []uint64{1, 7, 4, 2, 6, 3, 5, 8}, Counts{Backwards: 5}, 8},
		{"every ends swapped", Every, []uint64{7, 9, 8}, Counts{Backwards: 1}, 8},
		{"every repeats the newest", Every, []uint64{7, 8, 8, 9}, Counts{Doubled: 1}, 9},
		{"every repeats an older one", Every, []uint64{7, 8, 9, 8, 10}, Counts{Doubled: 1, Backwards: 1}, 10},
		{"every fills a hole twice", Every, []uint64{7, 9, 8, 8}, Counts{Backwards: 2, Doubled: 1}, 8},
		{"every repeats its snapshot", Every, []uint64{7, 7}, Counts{Doubled: 1}, 7},
	} {
		got, track := play(c.mode, c.numbers...)
		c.want.Ticks, c.want.Snapshots = int64(len(c.numbers)), 1
		if got != c.want || track.Last() != c.last {
			t.Errorf("%s: %+v, last %d\nwant %+v, last %d", c.name, got, track.Last(), c.want, c.last)
		}
	}
}

func TestPositionIsHeldAgainstTheNumber(t *testing.T) {
	for _, m := range []Mode{Latest, Every} {
		for _, k := range []Tick{{8, e, 7}, {8, e, 6}, {8, e - 1, 9}, {8, 0, 0}} {
			c, track := play(m, 7)
			if f := track.Tick(&c, m, k); f != Misplaced || c.Misplaced != 1 || c.Faults() != 1 {
				t.Errorf("mode %d %+v: %s, %+v", m, k, f, c)
			}
		}
		c, track := play(m, 7)
		if f := track.Tick(&c, m, Tick{8, e + 1, 1}); f != None || c.Faults() != 0 {
			t.Errorf("mode %d, a new epoch: %s, %+v", m, f, c)
		}
		c, track = Counts{}, Track{}
		for n := range uint64(3) {
			track.Tick(&c, m, Tick{Number: n})
		}
		if c.Faults() != 0 {
			t.Errorf("mode %d, no positions: %+v", m, c)
		}
	}
}

func TestAgain(t *testing.T) {
	c, track := play(Latest, 7, 8)
	track.Again()
	if track.Started() {
		t.Error("a track that waits for its snapshot says that it was there")
	}
	track.Tick(&c, Latest, at(8)) // the snapshot again
	track.Tick(&c, Latest, at(9))
	if c.Faults() != 0 || c.Snapshots != 2 || c.Older != 0 {
		t.Errorf("%+v", c)
	}
	track.Again()
	track.Tick(&c, Latest, at(5)) // another edge that lags
	if c.Faults() != 0 || c.Older != 1 || track.Last() != 5 {
		t.Errorf("%+v, last %d", c, track.Last())
	}
	track.Tick(&c, Latest, at(5))
	if c.Repeated != 1 {
		t.Errorf("only the snapshot is excused: %+v", c)
	}
}

func TestGaps(t *testing.T) {
	type gap struct{ epoch, from, to uint64 }
	for _, c := range []struct {
		name string
		gaps []gap
		then Tick
		want Counts
	}{
		{"told", []gap{{e, 8, 9}}, at(10), Counts{ToldMissing: 2}},
		{"told in two", []gap{{e, 8, 8}, {e, 9, 11}}, at(12), Counts{ToldMissing: 4}},
		{"told too few", []gap{{e, 8, 9}}, Tick{12, e, 12}, Counts{ToldMissing: 2, Lost: 2}},
		{"told too many", []gap{{e, 8, 10}}, at(9), Counts{ToldMissing: 1, Mistold: 1, Misplaced: 1}},
		{"jumps over one", []gap{{e, 9, 9}}, at(10), Counts{ToldMissing: 1, Lost: 1}},
		{"names what was sent", []gap{{e, 7, 8}}, at(8), Counts{Mistold: 1}},
		{"wrong way round", []gap{{e, 9, 8}}, at(8), Counts{Mistold: 1}},
		{"of an epoch that is over", []gap{{e - 1, 90, 91}}, at(8), Counts{Mistold: 1}},
		{"to the end of the epoch", []gap{{e, 8, 0}}, Tick{12, e + 1, 1}, Counts{ToldMissing: 4}},
		{"to the end, and of the next epoch", []gap{{e, 8, 0}, {e + 1, 1, 3}}, Tick{12, e + 1, 4}, Counts{ToldMissing: 4}},
		{"of the next epoch", []gap{{e + 1, 1, 3}}, Tick{11, e + 1, 4}, Counts{ToldMissing: 3}},
		{"to the end, and the same epoch goes on", []gap{{e, 8, 0}}, at(7), Counts{Doubled: 1}},
	} {
		got, track := play(Every, 7)
		for _, g := range c.gaps {
			track.Gap(&got, Every, g.epoch, g.from, g.to)
		}
		track.Tick(&got, Every, c.then)
		c.want.Ticks, c.want.Snapshots = 2, 1
		if got != c.want || track.Last() != c.then.Number {
			t.Errorf("%s: %+v\nwant %+v", c.name, got, c.want)
		}
		before := got.Faults()
		next := Tick{max(c.then.Number, 7) + 1, e + 2, 1}
		if f := track.Tick(&got, Every, next); f != None || got.Faults() != before {
			t.Errorf("%s: the next tick is %s, %+v", c.name, f, got)
		}
	}
}

func TestGapOutOfPlace(t *testing.T) {
	c, track := play(Latest, 7)
	if f := track.Gap(&c, Latest, e, 8, 9); f != Mistold {
		t.Errorf("in mode latest: %s", f)
	}
	var fresh Track
	if f := fresh.Gap(&c, Every, e, 8, 9); f != Mistold || c.Mistold != 2 {
		t.Errorf("before the snapshot: %s", f)
	}
}

func TestWhatIsLostLateIsForgottenInTheEnd(t *testing.T) {
	c, track := play(Every, 1)
	for n := uint64(3); n < 200; n += 2 {
		track.Tick(&c, Every, at(n))
	}
	if len(track.holes) > mostHoles || c.Lost != 99 {
		t.Errorf("%d holes, %+v", len(track.holes), c)
	}
	if f := track.Tick(&c, Every, at(2)); f != Doubled {
		t.Errorf("a number forgotten: %s", f)
	}
}

func TestVerdict(t *testing.T) {
	right := Verdict{Sockets: 2, Right: 2, Faults: Counts{Ticks: 5, Skipped: 1, ToldMissing: 1, Older: 1}}
	if !right.OK() || !strings.Contains(right.String(), "2 of 2 right") {
		t.Errorf("%s", right)
	}
	for _, wrong := range []Verdict{
		{Sockets: 2, Right: 1, Behind: 1},
		{Sockets: 2, Right: 1, Closed: 1},
		{Sockets: 2, Right: 2, Faults: Counts{Foreign: 1}},
	} {
		if wrong.OK() {
			t.Errorf("%s", wrong)
		}
	}
	v := Verdict{Sockets: 3, Right: 1, Behind: 1, Closed: 1, Faults: Counts{Lost: 3, Doubled: 1}, Examples: []string{"socket 7"}}
	if got, want := v.String(), "1 of 3 right, 1 behind, 1 closed; faults: 3 lost, 1 doubled\n\tsocket 7"; got != want {
		t.Errorf("%q\nwant %q", got, want)
	}
}

// TestCounts gives each field a value of its own, so that one left out shows.
func TestCounts(t *testing.T) {
	c := Counts{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
	sum := c
	sum.Add(c)
	if want := (Counts{2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24}); sum != want {
		t.Errorf("%+v", sum)
	}
	if sum.Minus(c) != c {
		t.Errorf("%+v", sum.Minus(c))
	}
	if c.Faults() != 3+4+5+6+7+8+9 {
		t.Errorf("%d faults", c.Faults())
	}
	if got, want := c.String(), "3 backwards, 4 repeated, 5 lost, 6 doubled, 7 misplaced, 8 mistold, 9 foreign"; got != want {
		t.Error(got)
	}
	for f := None; f <= Foreign; f++ {
		if f.String() == "" {
			t.Errorf("fault %d has no name", f)
		}
	}
}

// FuzzTrack holds what a track counts in mode every against what was sent: nothing panics, and a price is delivered, told
// missing or lost.
func FuzzTrack(f *testing.F) {
	f.Add([]byte{1, 1, 1})
	f.Add([]byte{1, 3, 0x81, 2, 0x40, 0})
	f.Fuzz(func(t *testing.T, steps []byte) {
		var c Counts
		var track Track
		newest, first := uint64(1000), uint64(0)
		for _, s := range steps {
			switch {
			case s&0x80 != 0 && track.Started(): // a right gap of some prices
				to := newest + uint64(s&0x3f) + 1
				track.Gap(&c, Every, e, newest+1, to)
				newest = to
			case s&0x40 != 0: // an older one again
				if track.Started() && track.highest.Number > first+uint64(s&0x3f) {
					track.Tick(&c, Every, at(first+uint64(s&0x3f)))
				}
			default: // the next but some
				newest += uint64(s&0x3f) + 1
				if first == 0 {
					first = newest
				}
				track.Tick(&c, Every, at(newest))
			}
		}
		delivered := c.Ticks - c.Doubled
		if first == 0 || track.told > 0 {
			return
		}
		if total := int64(newest - first + 1); delivered+c.ToldMissing+c.Lost != total {
			t.Fatalf("%d prices, of which %d came once, %d were told missing and %d lost: %+v", total, delivered, c.ToldMissing, c.Lost, c)
		}
	})
}
