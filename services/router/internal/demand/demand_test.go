package demand

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
)

const (
	bucketA subject.Bucket = "edge-abc123-0"
	bucketB subject.Bucket = "edge-abc123-1"
)

var start = time.Unix(1763769600, 0)

// set reads "A B*" as A in mode latest and B in mode every.
func set(text string) control.Set {
	s := control.Set{}
	for name := range strings.FieldsSeq(text) {
		if every, ok := strings.CutSuffix(name, "*"); ok {
			s[subject.Symbol(every)] = control.Every
		} else {
			s[subject.Symbol(name)] = control.Latest
		}
	}
	return s
}

func value(number uint64, text string) control.PartValue {
	return control.PartValue{Number: number, Symbols: set(text)}
}

func announcement(number uint64, text string) control.Announcement {
	return control.Announcement{Bucket: bucketA, Part: 3, PartValue: value(number, text)}
}

// show writes an effect as "7 +A +B* ~C -D closed": number, added, changed flag (! where the newest is due), removed.
func show(e Effect, ok bool) string {
	if !ok {
		return "ignored"
	}
	var words []string
	for _, p := range e.Changed {
		w := "~" + string(p.Symbol)
		if p.Added {
			w = "+" + string(p.Symbol)
		}
		if p.Every {
			w += "*"
		}
		if p.Fresh() {
			w += "!"
		}
		words = append(words, w)
	}
	for _, s := range e.Removed {
		words = append(words, "-"+string(s))
	}
	slices.Sort(words)
	if e.Closed {
		words = append(words, "closed")
	}
	return strings.TrimSpace(fmt.Sprint(e.Number, " ", strings.Join(words, " ")))
}

// holds is what the part has at the end.
func holds(d *Demand) string {
	p := d.part(bucketA, 3)
	if p == nil {
		return "none"
	}
	var words []string
	for s, every := range p.symbols {
		if every {
			s += "*"
		}
		words = append(words, string(s))
	}
	slices.Sort(words)
	return fmt.Sprint(p.number, " ", strings.Join(words, " "))
}

func TestPart(t *testing.T) {
	for name, steps := range map[string][]string{
		"announced, then the same from KV":              {"ann 1 A B*: 1 +A! +B*!", "kv 1 A B*: 1", "= 1 A B*"},
		"KV alone":                                      {"kv 1 A: 1 +A!", "kv 2 B*: 2 +B*! -A", "= 2 B*"},
		"an announced removal waits for KV":             {"kv 1 A B: 1 +A! +B!", "ann 2 A: 2", "= 2 A B", "kv 2 A: 2 -B", "= 2 A"},
		"an announced latest waits for KV":              {"kv 1 A*: 1 +A*!", "ann 2 A: 2", "= 2 A*", "kv 2 A: 2 ~A", "= 2 A"},
		"an announced every does not":                   {"kv 1 A: 1 +A!", "ann 2 A*: 2 ~A*!", "kv 2 A*: 2", "= 2 A*"},
		"removals of several announcements at once":     {"kv 1 A B C: 1 +A! +B! +C!", "ann 2 A B: 2", "ann 3 A D: 3 +D!", "kv 3 A D: 3 -B -C", "= 3 A D"},
		"KV behind an announcement is ignored":          {"ann 2 A: 2 +A!", "kv 1 B: ignored", "kv 2 A: 2", "= 2 A"},
		"KV again is ignored":                           {"kv 2 A: 2 +A!", "kv 2 A: ignored", "kv 1 B: ignored", "= 2 A"},
		"an announcement behind KV is ignored":          {"kv 2 A: 2 +A!", "ann 1 B: ignored", "ann 2 C: ignored", "= 2 A"},
		"an announcement again is ignored":              {"ann 2 A: 2 +A!", "ann 2 A: ignored", "ann 1 B: ignored", "= 2 A"},
		"a part that is emptied stays, with its number": {"kv 1 A: 1 +A!", "kv 2: 2 -A", "= 2"},
		"gone":                             {"kv 1 A B: 1 +A! +B!", "gone: 0 -A -B closed", "gone: ignored", "= none"},
		"gone, though announced":           {"ann 2 A: 2 +A!", "gone: 0 -A closed", "kv 2 A: 2 +A!", "= 2 A"},
		"lost, then the same from KV":      {"kv 2 A B: 2 +A! +B!", "lost", "= 2 A B", "ann 2 A: ignored", "kv 1 C: ignored", "kv 2 A: 2 -B", "= 2 A"},
		"lost, then announced anew":        {"kv 2 A: 2 +A!", "lost", "ann 3 B: 3 +B!", "kv 3 B: 3 -A", "= 3 B"},
		"a lower number after gone is new": {"kv 9 A: 9 +A!", "gone: 0 -A closed", "ann 1 A: 1 +A!", "= 1 A"},
	} {
		t.Run(name, func(t *testing.T) {
			d := New()
			for _, step := range steps {
				do, want, _ := strings.Cut(step, ": ")
				verb, args, _ := strings.Cut(do, " ")
				var number uint64
				fmt.Sscan(args, &number)
				_, text, _ := strings.Cut(args, " ")
				var got string
				switch verb {
				case "ann":
					got = show(d.Announce(announcement(number, text), start))
				case "kv":
					got = show(d.Store(bucketA, 3, value(number, text)))
				case "lost":
					d.Lost(bucketA, 3, start)
				case "gone":
					got = show(d.Remove(bucketA, 3))
				case "=":
					got, want = strings.TrimSpace(holds(d)), args
				}
				if got != want {
					t.Fatalf("%s: got %q, want %q", do, got, want)
				}
			}
		})
	}
}

func TestCounts(t *testing.T) {
	d := New()
	check := func(buckets, wants, ahead int) {
		t.Helper()
		if d.Buckets() != buckets || d.Wants() != wants || d.Ahead() != ahead {
			t.Fatalf("%d buckets, %d wants, %d ahead; want %d, %d, %d", d.Buckets(), d.Wants(), d.Ahead(), buckets, wants, ahead)
		}
	}
	d.Announce(announcement(1, "A B"), start)
	check(1, 2, 1)
	d.Store(bucketA, 3, value(1, "A"))
	check(1, 1, 0)
	d.Store(bucketA, 4, value(2, "C D"))
	d.Store(bucketB, 3, value(1, "A"))
	check(2, 4, 0)
	if e, _ := d.Remove(bucketA, 3); e.Closed {
		t.Fatal("a bucket with another part was closed")
	}
	check(2, 3, 0)
	if e, _ := d.Remove(bucketA, 4); !e.Closed {
		t.Fatal("a bucket without parts was not closed")
	}
	d.Remove(bucketB, 3)
	check(0, 0, 0)
}

func TestOverdue(t *testing.T) {
	stored := map[subject.Bucket]control.PartValue{}
	look := func(b subject.Bucket, _ int) (control.PartValue, bool) {
		v, ok := stored[b]
		return v, ok
	}
	settle := func(d *Demand, since time.Time) (shown []string) {
		d.Overdue(since, look, func(e Effect) { shown = append(shown, show(e, true)) })
		return shown
	}

	d := New()
	d.Announce(announcement(2, "A"), start)
	if got := settle(d, start); got != nil {
		t.Fatalf("settled in time: %q", got)
	}
	d.Announce(announcement(2, "A"), start.Add(time.Minute)) // its edge repeats it
	if got := settle(d, start.Add(time.Second)); got != nil {
		t.Fatalf("settled although announced again: %q", got)
	}
	if got := settle(d, start.Add(time.Hour)); !slices.Equal(got, []string{"0 -A closed"}) {
		t.Fatalf("a part that KV never had: %q", got)
	}

	d = New()
	d.Store(bucketA, 3, value(1, "A"))
	d.Announce(announcement(2, "B"), start)
	stored[bucketA] = value(1, "A")
	if got := settle(d, start.Add(time.Hour)); !slices.Equal(got, []string{"1 -B"}) {
		t.Fatalf("a part that KV has at a lower number: %q", got)
	}
	if got := show(d.Announce(announcement(2, "B"), start)); got != "2 +B!" {
		t.Fatalf("announced after it was given up: %q", got)
	}
	d.Store(bucketA, 3, value(2, "B"))
	if got := settle(d, start.Add(time.Hour)); got != nil || d.Ahead() != 0 {
		t.Fatalf("settled although KV has it: %q", got)
	}
	clear(stored)
	d.Lost(bucketA, 3, start)
	d.Lost(bucketB, 3, start) // of which nothing is known
	if got := settle(d, start); got != nil {
		t.Fatalf("settled in time: %q", got)
	}
	if got := settle(d, start.Add(time.Hour)); !slices.Equal(got, []string{"0 -B closed"}) {
		t.Fatalf("a part that was lost and not written again: %q", got)
	}
}

func TestEach(t *testing.T) {
	d := New()
	d.Store(bucketA, 3, value(7, "A B*"))
	d.Store(bucketB, 5, value(2, ""))
	got := map[subject.Bucket]string{}
	for name := range d.Names() {
		for e := range d.Each(name) {
			got[e.Bucket] = fmt.Sprint(e.Part, ": ", show(e, true))
		}
	}
	for e := range d.Each("edge-nobody-0") {
		t.Errorf("a bucket that is not there: %v", e)
	}
	if got[bucketA] != "3: 7 +A! +B*!" || got[bucketB] != "5: 2" {
		t.Fatalf("got %q", got)
	}
}
