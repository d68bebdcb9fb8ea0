package peers

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
)

var start = time.Unix(1763769600, 0)

func ready(name string) control.RouterBeat { return control.RouterBeat{Instance: name, Ready: true} }

func names(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("router-abcde%d", i))
	}
	return all
}

// views are n routers that have all heard each other.
func views(n, copies int) (all []*Peers) {
	for _, self := range names(n) {
		p := New(self, copies)
		for _, other := range names(n) {
			p.Hear(ready(other), start)
		}
		all = append(all, p)
	}
	return all
}

func bucket(i int) subject.Bucket { return subject.Bucket(fmt.Sprintf("edge-%06d-%d", i/4, i%4)) }

func owners(all []*Peers, b subject.Bucket) (names []string) {
	for _, p := range all {
		if p.Serves(b) {
			names = append(names, p.self)
		}
	}
	return names
}

const buckets = 2000

func TestEachBucketHasItsCopies(t *testing.T) {
	for _, n := range []int{1, 2, 3, 7} {
		for copies := 1; copies <= 2; copies++ {
			all, served := views(n, copies), map[string]int{}
			for i := range buckets {
				by := owners(all, bucket(i))
				if len(by) != min(copies, n) {
					t.Fatalf("%d routers, %d copies: %s is served by %q", n, copies, bucket(i), by)
				}
				for _, name := range by {
					served[name]++
				}
			}
			// Five standard deviations of a fair draw.
			share := float64(min(copies, n)) / float64(n)
			for _, name := range names(n) {
				if d := float64(served[name]) - buckets*share; d*d > 25*buckets*share*(1-share) {
					t.Errorf("%d routers, %d copies: %s serves %d buckets, want about %.0f", n, copies, name, served[name], buckets*share)
				}
			}
		}
	}
}

// One that comes or goes moves only what it gets or had.
func TestLittleMoves(t *testing.T) {
	three, four := views(3, 2), views(4, 2)
	for i := range buckets {
		before, after := owners(three, bucket(i)), owners(four, bucket(i))
		for _, name := range after {
			if name != names(4)[3] && !slices.Contains(before, name) {
				t.Fatalf("%s: %q before a fourth router came, %q after", bucket(i), before, after)
			}
		}
	}
}

func TestComingAndGoing(t *testing.T) {
	p := New("r1", 1)
	p.Expire(start)
	hear := func(b control.RouterBeat, at time.Time, stranger, changed bool) {
		t.Helper()
		if s, c := p.Hear(b, at); s != stranger || c != changed {
			t.Errorf("%+v: stranger %t, changed %t", b, s, c)
		}
	}
	others := func(n int) {
		t.Helper()
		if p.Others() != n {
			t.Errorf("%d others, want %d", p.Others(), n)
		}
	}
	hear(ready("r1"), start, false, false)
	hear(control.RouterBeat{Instance: "r2"}, start, true, false) // starts, and serves nobody yet
	others(0)
	hear(ready("r2"), start, false, true)
	hear(ready("r2"), start.Add(time.Second), false, false)
	others(1)
	for at := time.Duration(0); at <= LiveFor+time.Second; at += LiveFor / 4 {
		if gone := p.Expire(start.Add(at)); gone != (at == LiveFor+time.Second) {
			t.Errorf("after %s: gone %t", at, gone)
		}
	}
	others(0)
	hear(ready("r2"), start, true, true)
	hear(control.RouterBeat{Instance: "r2", Leaving: true}, start, false, true)
	hear(control.RouterBeat{Instance: "r2", Leaving: true}, start, false, false)
	others(0)
	hear(control.RouterBeat{Instance: "r3"}, start, true, false)
	for at := time.Duration(0); at < 2*LiveFor; at += LiveFor / 4 {
		if p.Expire(start.Add(LiveFor + at)) {
			t.Error("one that served nobody was missed")
		}
	}
}

// A router that was paused has heard nobody, and must not take over what others serve.
func TestPausedItself(t *testing.T) {
	p := New("r1", 1)
	p.Expire(start)
	p.Hear(ready("r2"), start)
	late := start.Add(time.Minute)
	for at := time.Duration(0); at <= LiveFor; at += LiveFor / 4 {
		if gone := p.Expire(late.Add(at)); gone != (at == LiveFor) {
			t.Errorf("%s after a pause: gone %t", at, gone)
		}
	}
}

func BenchmarkServes(b *testing.B) {
	p := views(8, 2)[0]
	for b.Loop() {
		p.Serves("edge-abc123-0")
	}
}

// The scores that other implementations test with.
func TestVectors(t *testing.T) {
	data, err := os.ReadFile("../../../../proto/vectors/spread.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Bucket subject.Bucket
		Scores map[string]string
		Rank   []string
	}
	if err := json.Unmarshal(data, &vectors); err != nil || len(vectors) == 0 {
		t.Fatalf("%d vectors, %v", len(vectors), err)
	}
	for _, v := range vectors {
		for name, want := range v.Scores {
			if got := fmt.Sprint(score(hash(name), hash(string(v.Bucket)))); got != want {
				t.Errorf("score of %s for %s: %s, want %s", name, v.Bucket, got, want)
			}
		}
		for copies := 1; copies <= 2; copies++ {
			for i, self := range v.Rank {
				p := New(self, copies)
				for other := range v.Scores {
					p.Hear(ready(other), start)
				}
				if got := p.Serves(v.Bucket); got != (i < copies) {
					t.Errorf("%s serves %s with %d copies: %t", self, v.Bucket, copies, got)
				}
			}
		}
	}
}
