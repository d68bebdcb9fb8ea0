package route

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tickfan/tickfan/libs/newest"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

const (
	window = 2 * time.Millisecond

	bucketA subject.Bucket = "edge-abc123-0"
	bucketB subject.Bucket = "edge-abc123-1"
)

var start = time.Unix(1763769600, 0)

// bench is a Router under a test, with what it published.
type bench struct {
	*Router
	t      testing.TB
	now    time.Time
	sent   []message
	err    error
	stored map[subject.Bucket]control.PartValue
	ranges []string // handed on
	missed int
	deaf   bool // the connection is cut
}

type message struct {
	subject string
	data    []byte
}

func newBench(t testing.TB) *bench { return newBenchOf(t, "r1", 1) }

func newBenchOf(t testing.TB, instance string, copies int) *bench {
	b := &bench{t: t, now: start, stored: map[subject.Bucket]control.PartValue{}}
	b.Router = New(Options{
		Region:   "local",
		Instance: instance,
		Copies:   copies,
		Window:   window,
		Log:      slog.New(slog.DiscardHandler),
		Publish: func(subj string, data []byte) error {
			if b.err == nil {
				b.sent = append(b.sent, message{subj, slices.Clone(data)})
			}
			return b.err
		},
		Stored: func(bk subject.Bucket, part int) (control.PartValue, bool) {
			v, ok := b.stored[bk]
			return v, ok
		},
		Missed: func() { b.missed++ },
		Hears:  func() bool { return !b.deaf },
		Range:  func(g tick.Range, reply string) { b.ranges = append(b.ranges, fmt.Sprint(g, " to ", reply)) },
	})
	return b
}

// payload is a tick as ingest sends it.
func payload(s subject.Symbol, epoch, seq uint64) []byte {
	t := tick.Tick{
		Symbol:   s,
		Position: tick.Position{Epoch: epoch, Seq: seq},
		At:       start.UnixMicro(),
		Quote:    tick.Quote{Price: tick.NewDecimal(6412351+seq%1e6, 2), Bid: tick.MustDecimal("64123.50"), Ask: tick.MustDecimal("64123.52"), TS: start.UnixMicro()},
	}
	return t.Append(nil)
}

func (b *bench) publishTick(s subject.Symbol, epoch, seq uint64) {
	b.Tick(subject.Ticks(s), payload(s, epoch, seq), b.now)
}

func stored(s subject.Symbol, epoch, seq uint64) newest.Tick {
	return newest.Tick{Subject: subject.Ticks(s), Payload: payload(s, epoch, seq)}
}

// want makes a bucket want symbols ("A B*", * is every) by KV, each in its part.
func (b *bench) want(bk subject.Bucket, number uint64, text string) {
	for part, v := range parts(number, text) {
		b.Store(bk, part, v)
	}
}

func (b *bench) announce(bk subject.Bucket, number uint64, text string) {
	for part, v := range parts(number, text) {
		a := control.Announcement{Bucket: bk, Part: part, PartValue: v}
		b.Announcement(a.Append(nil), b.now)
	}
}

func parts(number uint64, text string) map[int]control.PartValue {
	m := map[int]control.PartValue{}
	for name := range strings.FieldsSeq(text) {
		flag := control.Latest
		name, every := strings.CutSuffix(name, "*")
		if every {
			flag = control.Every
		}
		s := subject.Symbol(name)
		part := subject.Part(s)
		if m[part].Symbols == nil {
			m[part] = control.PartValue{Number: number, Symbols: control.Set{}}
		}
		m[part].Symbols[s] = flag
	}
	return m
}

// flush lets a window pass and gives what a bucket got, as "number: symbol/seq symbol/seq | …".
func (b *bench) flush(bk subject.Bucket) string {
	b.now = b.now.Add(window)
	b.Flush(b.now)
	return b.got(bk)
}

func (b *bench) got(bk subject.Bucket) string {
	var out []string
	for _, m := range b.batches(bk) {
		words := []string{fmt.Sprint(m.Number, ":")}
		for _, it := range m.Items {
			h, err := tick.DecodeHead(it)
			if err != nil {
				b.t.Errorf("item: %v", err)
			}
			words = append(words, fmt.Sprintf("%s/%d", h.Symbol, h.Seq))
		}
		slices.Sort(words[1:])
		out = append(out, strings.Join(words, " "))
	}
	return strings.Join(out, " | ")
}

// batches takes those of a bucket out of what was sent.
func (b *bench) batches(bk subject.Bucket) (out []tick.Batch) {
	subj := subject.Fanout("local", bk)
	for _, m := range b.sent {
		if m.subject == subj {
			var batch tick.Batch
			if err := batch.Decode(m.data); err != nil {
				b.t.Fatalf("batch: %v", err)
			}
			out = append(out, batch)
		}
	}
	b.sent = slices.DeleteFunc(b.sent, func(m message) bool { return m.subject == subj })
	return out
}

func expect(t testing.TB, what, got, want string) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: got %q, want %q", what, got, want)
	}
}

func TestNothingLeavesBeforeServe(t *testing.T) {
	b := newBench(t)
	b.announce(bucketA, 1, "BTC-USD")
	b.publishTick("BTC-USD", 1, 5)
	for range 100 {
		b.now = b.now.Add(TurnEvery)
		b.Turn(b.now)
		b.Flush(b.now)
	}
	if len(b.sent) > 0 {
		t.Fatalf("%d messages left", len(b.sent))
	}
	b.Fill([]newest.Tick{stored("BTC-USD", 1, 4), stored("ETH-USD", 1, 9)}, b.now)
	b.want(bucketB, 1, "ETH-USD SOL-USD")
	b.Serve(b.now)
	expect(t, "A", b.flush(bucketA), "1: BTC-USD/5")
	expect(t, "B", b.got(bucketB), "1: ETH-USD/9")
}

func TestMergeByPosition(t *testing.T) {
	b := newBench(t)
	b.want(bucketA, 1, "BTC-USD*")
	b.Serve(b.now)
	b.flush(bucketA)

	b.publishTick("BTC-USD", 2, 10)
	b.Fill([]newest.Tick{stored("BTC-USD", 2, 9), stored("BTC-USD", 1, 99)}, b.now)
	b.publishTick("BTC-USD", 2, 10) // again
	b.publishTick("BTC-USD", 2, 9)  // backwards
	b.publishTick("BTC-USD", 1, 50) // an old leader
	b.publishTick("BTC-USD", 2, 11)
	b.Fill([]newest.Tick{stored("BTC-USD", 2, 13)}, b.now)
	b.publishTick("BTC-USD", 3, 1)
	expect(t, "got", b.flush(bucketA), "2: BTC-USD/1 BTC-USD/10 BTC-USD/11 BTC-USD/13")
	s := b.Stats()
	if s.Ticks.Load() != 6 || s.Old.Load() != 3 || s.Repaired.Load() != 1 {
		t.Fatalf("%d ticks, %d old, %d repaired; want 6, 3, 1", s.Ticks.Load(), s.Old.Load(), s.Repaired.Load())
	}
}

func TestLatestAndEvery(t *testing.T) {
	b := newBench(t)
	b.want(bucketA, 1, "BTC-USD ETH-USD*")
	b.want(bucketB, 1, "BTC-USD*")
	b.Serve(b.now)
	b.flush(bucketA)
	b.got(bucketB)
	for seq := range uint64(3) {
		b.publishTick("BTC-USD", 1, seq+1)
		b.publishTick("ETH-USD", 1, seq+1)
		b.publishTick("SOL-USD", 1, seq+1) // nobody's
	}
	expect(t, "A", b.flush(bucketA), "2: BTC-USD/3 ETH-USD/1 ETH-USD/2 ETH-USD/3")
	expect(t, "B", b.got(bucketB), "2: BTC-USD/1 BTC-USD/2 BTC-USD/3")
}

func TestBeatAge(t *testing.T) {
	b := newBench(t)
	b.want(bucketA, 1, "BTC-USD")
	b.Serve(b.now)
	b.now = b.now.Add(window)
	b.Flush(b.now)
	if got := b.batches(bucketA)[0].BeatAge; got != tick.NoBeat {
		t.Fatalf("age %d before the first beat", got)
	}
	beat := tick.BeatMsg{Epoch: 1, Count: 1, Time: 1}
	b.Beat(beat.Append(nil), b.now)
	b.now = b.now.Add(700 * time.Millisecond)
	b.publishTick("BTC-USD", 1, 1)
	b.Flush(b.now)
	if got := b.batches(bucketA)[0].BeatAge; got != 700 {
		t.Fatalf("age %d, want 700", got)
	}
	b.Turn(b.now)
	if got := b.Stats().BeatAge.Load(); got != 700 {
		t.Fatalf("metric %d, want 700", got)
	}
}

func TestSayAndFinish(t *testing.T) {
	b := newBench(t)
	beat := func() control.RouterBeat {
		t.Helper()
		m := b.sent[len(b.sent)-1]
		expect(t, "subject", m.subject, "router.local.beat")
		beat, err := control.DecodeRouterBeat(m.data)
		if err != nil {
			t.Fatal(err)
		}
		return beat
	}
	b.Say()
	if got := beat(); got != (control.RouterBeat{Instance: "r1"}) {
		t.Fatalf("before Serve: %+v", got)
	}
	b.want(bucketA, 1, "BTC-USD")
	b.Serve(b.now)
	b.Say()
	if got := beat(); got != (control.RouterBeat{Instance: "r1", Ready: true}) {
		t.Fatalf("after Serve: %+v", got)
	}
	b.publishTick("BTC-USD", 1, 1)
	b.Finish(b.now)
	if got := beat(); got != (control.RouterBeat{Instance: "r1", Leaving: true}) {
		t.Fatalf("at the end: %+v", got)
	}
	expect(t, "what waited", b.got(bucketA), "1: BTC-USD/1")
}

// A tick that beats count and that did not come is looked for, once.
func TestMissedTick(t *testing.T) {
	b := newBench(t)
	beat := func(count uint64) {
		m := tick.BeatMsg{Epoch: 1, Count: count, Time: 1}
		b.Beat(m.Append(nil), b.now)
	}
	beat(10)
	b.publishTick("BTC-USD", 1, 1)
	b.publishTick("BTC-USD", 1, 1) // a tick all the same
	beat(12)
	if b.missed != 0 {
		t.Error("looked for what came")
	}
	b.publishTick("BTC-USD", 1, 3)
	beat(14)
	beat(14)
	if b.missed != 1 || b.Stats().Missed.Load() != 1 {
		t.Errorf("looked %d times for %d ticks", b.missed, b.Stats().Missed.Load())
	}
}

func TestMalformed(t *testing.T) {
	b := newBench(t)
	b.want(bucketA, 1, "BTC-USD")
	b.Serve(b.now)
	b.flush(bucketA)
	b.sent = nil
	good := payload("BTC-USD", 1, 1)
	for _, bad := range []struct{ subject, payload string }{
		{"ticks.BTC-USD", ""},
		{"ticks.BTC-USD", "junk"},
		{"ticks.BTC-USD", string(good[:len(good)-1])},
		{"ticks.BTC-USD", string(good) + "x"},
		{"ticks.ETH-USD", string(good)},
		{"ticks.BTC.USD", string(good)},
		{"ticks.", string(good)},
		{"", string(good)},
	} {
		b.Tick(bad.subject, []byte(bad.payload), b.now)
	}
	b.Fill([]newest.Tick{{Subject: "ticks.BTC-USD", Payload: []byte("junk")}}, b.now)
	b.Beat([]byte("junk"), b.now)
	b.Announcement([]byte("junk"), b.now)
	b.PeerBeat([]byte("junk"), b.now)
	b.Newest("router.local.newest", "reply", []byte("junk"))
	b.Newest("router.local.newest", "", (&tick.NewestRequest{}).Append(nil))
	expect(t, "A", b.flush(bucketA), "")
	if len(b.sent) > 0 {
		t.Fatalf("answered junk on %s", b.sent[0].subject)
	}
	want := [Kinds]int64{KindTick: 9, KindBeat: 1, KindInterest: 1, KindNewest: 2, KindPeer: 1}
	for k := range Kinds {
		if n := b.Stats().Malformed[k].Load(); n != want[k] {
			t.Errorf("%d malformed of kind %s, want %d", n, k, want[k])
		}
	}
	b.Tick("ticks.BTC-USD", good, b.now)
	expect(t, "a good one after it", b.flush(bucketA), "2: BTC-USD/1")
}

func TestRefusedPublishIsCounted(t *testing.T) {
	b := newBench(t)
	b.want(bucketA, 1, "BTC-USD")
	b.Serve(b.now)
	b.err = errors.New("cut")
	b.flush(bucketA)
	b.Say()
	b.Newest("router.local.newest", "reply", (&tick.NewestRequest{}).Append(nil))
	if n := b.Stats().Errors.Load(); n != 3 {
		t.Fatalf("%d errors, want 3", n)
	}
	b.err = nil
	b.publishTick("BTC-USD", 1, 1)
	expect(t, "after it", b.flush(bucketA), "2: BTC-USD/1")
}
