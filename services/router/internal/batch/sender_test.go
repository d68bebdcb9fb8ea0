package batch

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
	"github.com/tickfan/tickfan/proto/wire"
)

const window = 2 * time.Millisecond

var start = time.Unix(1763769600, 0)

// sink keeps what a Sender publishes, decoded.
type sink struct {
	t      *testing.T
	sender *Sender
	got    []sent
	err    error
}

type sent struct {
	subject string
	size    int
	tick.Batch
	items string // as text, joined by blanks
}

func newSink(t *testing.T) *sink {
	s := &sink{t: t}
	s.sender = NewSender(Options{Region: "local", Instance: "r1", Window: window, Publish: s.publish})
	return s
}

func (s *sink) publish(subj string, data []byte) error {
	if s.err != nil {
		return s.err
	}
	m := sent{subject: subj, size: len(data)}
	if err := m.Decode(append([]byte(nil), data...)); err != nil {
		s.t.Errorf("decode what was published: %v", err)
	}
	var items []string
	for _, it := range m.Items {
		r := wire.NewReader(it)
		items = append(items, string(r.Str()))
	}
	m.items = strings.Join(items, " ")
	s.got = append(s.got, m)
	return nil
}

// flush gives what left, as "<number>:<items>" each.
func (s *sink) flush(now time.Time) string {
	s.sender.Flush(now)
	return s.take()
}

func (s *sink) take() string {
	var out []string
	for _, m := range s.got {
		out = append(out, strings.TrimSpace(fmt.Sprint(m.Number, ":", m.items)))
	}
	s.got = nil
	return strings.Join(out, "|")
}

func item(text string) []byte { return wire.AppendStr(nil, text) }

func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: got %q, want %q", what, got, want)
	}
}

func TestFirstTickLeavesAtOnce(t *testing.T) {
	s := newSink(t)
	b := s.sender.Open("edge-abc123-0")
	var x Slot
	s.sender.Latest(b, &x, item("a1"))
	expect(t, "the first", s.flush(start), "1:a1")
	s.sender.Latest(b, &x, item("a2"))
	expect(t, "within the window", s.flush(start.Add(window-1)), "")
	expect(t, "after the window", s.flush(start.Add(window)), "2:a2")
	expect(t, "with nothing to send", s.flush(start.Add(2*window)), "")
	s.sender.Latest(b, &x, item("a3"))
	expect(t, "after a pause", s.flush(start.Add(2*window)), "3:a3")
}

func TestConflation(t *testing.T) {
	s := newSink(t)
	b := s.sender.Open("edge-abc123-0")
	var x, y, z Slot
	s.sender.Latest(b, &x, item("x1"))
	s.flush(start)
	for i := range 5 {
		s.sender.Latest(b, &x, item(fmt.Sprint("x", i)))
		s.sender.Latest(b, &y, item(fmt.Sprint("y", i)))
		s.sender.Every(b, item(fmt.Sprint("e", i)))
	}
	s.sender.Latest(b, &z, item("z0"))
	expect(t, "one window", s.flush(start.Add(window)), "2:x4 y4 e0 e1 e2 e3 e4 z0")
	s.sender.Latest(b, &y, item("y9")) // a slot of the last batch is worth nothing now
	expect(t, "the next", s.flush(start.Add(2*window)), "3:y9")
}

func TestBucketsDoNotWaitForEachOther(t *testing.T) {
	s := newSink(t)
	a, b := s.sender.Open("edge-abc123-0"), s.sender.Open("edge-abc123-1")
	s.sender.Every(a, item("a1"))
	s.flush(start)
	s.sender.Every(b, item("b1"))
	s.sender.Every(a, item("a2"))
	next := s.sender.Flush(start.Add(window / 2))
	expect(t, "b", s.take(), "1:b1")
	if want := start.Add(window); !next.Equal(want) {
		t.Fatalf("next flush in %s, want %s", next.Sub(start), window)
	}
	s.sender.Every(b, item("b2"))
	next = s.sender.Flush(start.Add(window))
	expect(t, "a", s.take(), "2:a2")
	if want := start.Add(window + window/2); !next.Equal(want) {
		t.Fatalf("next flush in %s, want %s", next.Sub(start), window+window/2)
	}
	if next := s.sender.Flush(start.Add(2 * window)); !next.IsZero() {
		t.Fatalf("next flush in %s, want none", next.Sub(start))
	}
	expect(t, "b", s.take(), "2:b2")
}

func TestConfirm(t *testing.T) {
	s := newSink(t)
	b := s.sender.Open("edge-abc123-0")
	s.sender.Confirm(b, 3, 7)
	s.sender.Flush(start)
	if len(s.got) != 1 || s.got[0].Interest[3] != 7 || len(s.got[0].Items) != 0 || s.got[0].subject != "fanout.local.edge-abc123-0" {
		t.Fatalf("got %+v, want one empty batch that confirms 7 of part 3", s.got)
	}
	s.take()
	s.sender.Every(b, item("a"))
	s.sender.Flush(start.Add(time.Second))
	if s.got[0].Interest[3] != 7 {
		t.Fatalf("the next batch says %v", s.got[0].Interest)
	}
}

func TestSplit(t *testing.T) {
	s := newSink(t)
	b := s.sender.Open("edge-abc123-0")
	s.sender.Confirm(b, 0, 1)
	s.sender.Flush(start)
	s.take()

	long := strings.Repeat("x", 1000)
	const n = 600
	for range n {
		s.sender.Every(b, item(long))
	}
	s.sender.Confirm(b, 0, 2)
	s.sender.Flush(start.Add(window))
	items := 0
	for i, m := range s.got {
		items += len(m.Items)
		if m.size > tick.MaxPayload {
			t.Errorf("batch %d has %d bytes, more than %d", i, m.size, tick.MaxPayload)
		}
		if m.Number != uint64(2+i) {
			t.Errorf("batch %d has number %d, want %d", i, m.Number, 2+i)
		}
		want := uint64(1)
		if i == len(s.got)-1 {
			want = 2
		}
		if m.Interest[0] != want {
			t.Errorf("batch %d of %d confirms %d, want %d", i, len(s.got), m.Interest[0], want)
		}
	}
	if items != n || len(s.got) != 3 {
		t.Fatalf("%d items in %d batches, want %d in 3", items, len(s.got), n)
	}
}

func TestAnItemLargerThanABatchGoesAlone(t *testing.T) {
	s := newSink(t)
	b := s.sender.Open("edge-abc123-0")
	s.sender.Every(b, item("a"))
	s.sender.Every(b, item(strings.Repeat("x", tick.MaxPayload)))
	s.sender.Every(b, item("b"))
	s.sender.Flush(start)
	if len(s.got) != 3 || len(s.got[1].Items) != 1 || s.got[2].items != "b" {
		t.Fatalf("got %d batches", len(s.got))
	}
}

func TestIdle(t *testing.T) {
	s := newSink(t)
	quiet := make([]*Bucket, Slots)
	for i := range quiet {
		quiet[i] = s.sender.Open(subject.Bucket(fmt.Sprint("edge-abc123-", i)))
	}
	last := map[string]time.Time{}
	now := start
	for turn := range 5 * Slots {
		now = now.Add(IdleEvery / Slots)
		if turn > Slots { // one bucket is busy
			s.sender.Every(quiet[4], item("x"))
		}
		s.sender.Idle(now)
		s.sender.Flush(now)
		if n := len(s.got); turn <= Slots && n != 1 {
			t.Fatalf("turn %d: %d batches at once, want 1: they are to be spread", turn, n)
		}
		for _, m := range s.got {
			if at, ok := last[m.subject]; ok && now.Sub(at) > 3*IdleEvery/2 {
				t.Fatalf("%s heard nothing for %s", m.subject, now.Sub(at))
			}
			last[m.subject] = now
			if busy := m.subject == quiet[4].subject; turn > Slots && busy && len(m.Items) == 0 {
				t.Fatal("a busy bucket got an empty batch")
			}
		}
		s.got = nil
	}
	if len(last) != Slots {
		t.Fatalf("%d buckets heard something, want %d", len(last), Slots)
	}
	if quiet[0].number != 5 {
		t.Fatalf("a quiet bucket got %d batches in 5 s", quiet[0].number)
	}
}

func TestRefusedBatchLeavesAHole(t *testing.T) {
	s := newSink(t)
	b := s.sender.Open("edge-abc123-0")
	s.err = errors.New("cut")
	s.sender.Every(b, item("a"))
	expect(t, "refused", s.flush(start), "")
	s.err = nil
	s.sender.Every(b, item("b"))
	expect(t, "after it", s.flush(start.Add(window)), "2:b")
	if n := s.sender.Stats().Batches.Load(); n != 1 {
		t.Fatalf("%d batches counted, want 1", n)
	}
}

func TestClose(t *testing.T) {
	s := newSink(t)
	for name, prepare := range map[string]func(*Bucket){
		"about to be sent": func(b *Bucket) { s.sender.Every(b, item("a")) },
		"cooling": func(b *Bucket) {
			s.sender.Every(b, item("a"))
			s.sender.Flush(start)
		},
		"cooling with something to send": func(b *Bucket) {
			s.sender.Every(b, item("a"))
			s.sender.Flush(start)
			s.sender.Every(b, item("a"))
		},
	} {
		b := s.sender.Open("edge-abc123-0")
		prepare(b)
		s.got = nil
		s.sender.Close(b)
		for range Slots {
			s.sender.Idle(start.Add(time.Hour))
		}
		expect(t, name, s.flush(start.Add(time.Hour)), "")
		if s.sender.waiting != 0 || s.sender.head != nil {
			t.Fatalf("%s: %d wait, head %v", name, s.sender.waiting, s.sender.head)
		}
	}
}

// A bucket that is opened again gets a series of its own: who hears it could not tell a first batch from a lost one else.
func TestSeries(t *testing.T) {
	s := newSink(t)
	seen := map[string]bool{}
	for i := range 3 {
		b := s.sender.Open("edge-abc123-0")
		now := start.Add(time.Duration(i) * time.Second)
		for n := range uint64(2) {
			s.sender.Every(b, item("a"))
			s.sender.Flush(now.Add(time.Duration(n) * window))
			m := s.got[len(s.got)-1]
			if m.Number != n+1 || seen[m.Router] != (n > 0) || !strings.HasPrefix(m.Router, "r1.") {
				t.Fatalf("batch %d of %q", m.Number, m.Router)
			}
			seen[m.Router] = true
		}
		s.sender.Close(b)
	}
}

func TestFlushAll(t *testing.T) {
	s := newSink(t)
	a, b := s.sender.Open("edge-abc123-0"), s.sender.Open("edge-abc123-1")
	s.sender.Every(a, item("a1"))
	s.sender.Flush(start)
	s.take()
	s.sender.Every(a, item("a2"))
	s.sender.Every(b, item("b1"))
	s.sender.FlushAll(start)
	expect(t, "all", s.take(), "1:b1|2:a2")
}

func TestBeatAge(t *testing.T) {
	s := newSink(t)
	b := s.sender.Open("edge-abc123-0")
	s.sender.Every(b, item("a"))
	s.sender.Flush(start)
	if got := s.got[0].BeatAge; got != tick.NoBeat {
		t.Fatalf("beat age %d before the first beat", got)
	}
	s.sender.Beat(start)
	s.sender.Every(b, item("a"))
	s.sender.Flush(start.Add(1234 * time.Millisecond))
	if got := s.got[1].BeatAge; got != 1234 {
		t.Fatalf("beat age %d, want 1234", got)
	}
}

func TestLargeFillingIsNotKept(t *testing.T) {
	s := newSink(t)
	b := s.sender.Open("edge-abc123-0")
	for range keepItems + 1 {
		s.sender.Every(b, item("a"))
	}
	s.sender.Flush(start)
	if b.items != nil {
		t.Fatalf("room for %d items kept", cap(b.items))
	}
}
