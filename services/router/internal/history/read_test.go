package history

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

func TestMain(m *testing.M) { natstest.Main(m) }

const within = 20 * time.Second

// ticks is a stream TICKS that a test fills.
type ticks struct {
	t  testing.TB
	nc *nats.Conn
	js jetstream.JetStream
	n  uint64 // messages published
}

func newTicks(t testing.TB, history int64) *ticks {
	t.Helper()
	s := &ticks{t: t, nc: natstest.Start(t).Connect(t)}
	var err error
	if s.js, err = jetstream.New(s.nc); err != nil {
		t.Fatal(err)
	}
	if _, err = s.js.CreateStream(context.Background(), jetstream.StreamConfig{Name: subject.StreamTicks, Subjects: []string{subject.TicksAll},
		MaxMsgsPerSubject: history, AllowDirect: true}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *ticks) stream() jetstream.Stream {
	s.t.Helper()
	stream, err := s.js.Stream(context.Background(), subject.StreamTicks)
	if err != nil {
		s.t.Fatal(err)
	}
	return stream
}

// add publishes ticks of a symbol, of those positions from one seq to another.
func (s *ticks) add(sym subject.Symbol, epoch, from, to uint64) {
	s.t.Helper()
	for seq := from; seq <= to; seq++ {
		tk := tick.Tick{Symbol: sym, Position: tick.Position{Epoch: epoch, Seq: seq}, At: 1763769600000000,
			Quote: tick.Quote{Price: tick.NewDecimal(seq, 2), TS: 1763769600000000}}
		if err := s.nc.Publish(subject.Ticks(sym), tk.Append(nil)); err != nil {
			s.t.Fatal(err)
		}
		s.n++
	}
}

// settle waits until all of it is stored.
func (s *ticks) settle() {
	s.t.Helper()
	natstest.Eventually(s.t, within, func() bool {
		info, err := s.stream().Info(context.Background())
		return err == nil && info.State.LastSeq == s.n
	}, "%d messages stored", s.n)
}

func (s *ticks) noConsumers() {
	s.t.Helper()
	info, err := s.stream().Info(context.Background())
	if err != nil {
		s.t.Fatal(err)
	}
	if info.State.Consumers > 0 {
		s.t.Errorf("%d consumers left behind", info.State.Consumers)
	}
}

// runs writes seqs as "1-3 5".
func runs(t testing.TB, g tick.Range, payloads [][]byte) string {
	t.Helper()
	var text string
	var from, last uint64
	flush := func() {
		switch {
		case from == 0:
		case from == last:
			text += fmt.Sprintf(" %d", from)
		default:
			text += fmt.Sprintf(" %d-%d", from, last)
		}
	}
	for _, p := range payloads {
		h, err := tick.DecodeHead(p)
		if err != nil {
			t.Fatal(err)
		}
		if string(h.Symbol) != string(g.Symbol) || !g.Holds(h.Position) || h.Seq <= last {
			t.Fatalf("%s %v after %d in %+v", h.Symbol, h.Position, last, g)
		}
		if from == 0 || h.Seq != last+1 {
			flush()
			from = h.Seq
		}
		last = h.Seq
	}
	flush()
	if text == "" {
		return ""
	}
	return text[1:]
}

const (
	btc subject.Symbol = "BTC-USD"
	eth subject.Symbol = "ETH-USD"
)

func TestRead(t *testing.T) {
	s := newTicks(t, 1000)
	// BTC-USD: epoch 5 from 1 to 1500, of which 501 on are kept in the end, with 1200 lost and 1300 stored again; then
	// epoch 6 from 1 to 40, among which a tick of the old leader comes late. The last of ETH-USD lies far before the end.
	s.add(eth, 5, 1, 3)
	for seq := uint64(1); seq <= 1460; seq++ {
		if seq != 1200 {
			s.add(btc, 5, seq, seq)
		}
		for i := range 30 { // apart
			s.add(subject.Symbol(fmt.Sprint("S", i)), 5, seq, seq)
		}
	}
	s.add(btc, 5, 1300, 1300)
	s.add(btc, 6, 1, 20)
	s.add(btc, 5, 1461, 1461)
	s.add(btc, 6, 20, 40)
	s.settle() // 1460-1+1+20+1+21 of BTC-USD: the last 1,000 begin with 5/503
	for _, c := range []struct {
		sym             subject.Symbol
		epoch, from, to uint64
		want            string
		lack            tick.Lack
	}{
		{btc, 6, 1, 40, "1-40", tick.Nothing},
		{btc, 6, 40, 40, "40", tick.Nothing},
		{btc, 6, 1, 1, "1", tick.Nothing},
		{btc, 6, 39, 45, "39-40", tick.Ahead},
		{btc, 6, 41, 45, "", tick.Ahead},
		{btc, 7, 1, 1, "", tick.Ahead},
		{btc, 5, 1450, 1460, "1450-1460", tick.Nothing},
		{btc, 5, 1195, 1205, "1195-1199 1201-1205", tick.Gone},
		{btc, 5, 1200, 1200, "", tick.Gone},
		{btc, 5, 1290, 1310, "1290-1310", tick.Nothing},
		{btc, 5, 1455, 1500, "1455-1460", tick.Gone}, // the epoch is over
		{btc, 5, 600, 1199, "600-1199", tick.Nothing},
		{btc, 5, 1, 1000, "503-1000", tick.Gone},
		{btc, 5, 503, 503, "503", tick.Nothing},
		{btc, 5, 502, 502, "", tick.Gone},
		{btc, 4, 1, 1000, "", tick.Gone},
		{eth, 5, 1, 3, "1-3", tick.Nothing},
		{eth, 5, 3, 4, "3", tick.Ahead},
		{eth, 4, 3, 4, "", tick.Gone},
		{"NEW-USD", 5, 1, 2, "", tick.Gone},
	} {
		g := tick.Range{Symbol: c.sym, Epoch: c.epoch, From: c.from, To: c.to}
		got, lack, err := Read(t.Context(), s.js, g)
		if err != nil {
			t.Errorf("%+v: %v", g, err)
			continue
		}
		if text := runs(t, g, got); text != c.want || lack != c.lack {
			t.Errorf("%+v: %q, lack %d; want %q, %d", g, text, lack, c.want, c.lack)
		}
	}
	s.noConsumers()
}

// However far the ticks lie apart, the beginning of the range is found.
func TestReadFindsTheBeginning(t *testing.T) {
	s := newTicks(t, 1000)
	seq := uint64(0)
	for i := range uint64(40_000) {
		if i%97 == 0 || i > 39_000 && i%3 == 0 { // rare, then often
			seq++
			s.add(btc, 5, seq, seq)
		}
		s.add(subject.Symbol(fmt.Sprint("S", i%700)), 5, i, i)
		if i%5000 == 0 {
			s.settle()
		}
	}
	s.settle()
	for from := uint64(1); from <= seq; from += 37 {
		for _, n := range []uint64{1, 30} {
			g := tick.Range{Symbol: btc, Epoch: 5, From: from, To: min(from+n-1, seq)}
			got, lack, err := Read(t.Context(), s.js, g)
			if err != nil || lack != tick.Nothing || uint64(len(got)) != g.Len() {
				t.Fatalf("%+v of %d: %q, lack %d, %v", g, seq, runs(t, g, got), lack, err)
			}
		}
	}
	s.noConsumers()
}

func TestReadWithoutStream(t *testing.T) {
	js, err := jetstream.New(natstest.Start(t).Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	got, lack, err := Read(t.Context(), js, tick.Range{Symbol: btc, Epoch: 1, From: 1, To: 1})
	if !errors.Is(err, jetstream.ErrStreamNotFound) || lack != tick.Refused || len(got) > 0 {
		t.Errorf("%d ticks, lack %d, %v", len(got), lack, err)
	}
}

// A mirror that has heard nothing of its origin yet cannot know that a tick is gone.
func TestReadOfMirrorThatFills(t *testing.T) {
	s := newTicks(t, 10)
	g := tick.Range{Symbol: "BTC-USD", Epoch: 1, From: 1, To: 2}
	if _, lack, err := Read(t.Context(), s.js, g); lack != tick.Gone || err != nil {
		t.Errorf("lack %v, error %v; want it gone", lack, err)
	}
	if err := s.js.DeleteStream(t.Context(), subject.StreamTicks); err != nil {
		t.Fatal(err)
	}
	mirror := jetstream.StreamConfig{Name: subject.StreamTicks, AllowDirect: true, Mirror: &jetstream.StreamSource{Name: subject.StreamTicks, Domain: "away"}}
	natstest.Made(t, func() (jetstream.Stream, error) { return s.js.CreateStream(t.Context(), mirror) })
	if _, lack, err := Read(t.Context(), s.js, g); lack != tick.Ahead || err != nil {
		t.Errorf("lack %v, error %v; want it ahead", lack, err)
	}
}

func TestReadEndsWithItsContext(t *testing.T) {
	s := newTicks(t, 1000)
	s.add(btc, 1, 1, 10)
	s.settle()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, lack, err := Read(ctx, s.js, tick.Range{Symbol: btc, Epoch: 1, From: 1, To: 10}); !errors.Is(err, context.Canceled) || lack != tick.Refused {
		t.Errorf("lack %d, %v", lack, err)
	}
	s.noConsumers()
}

// A payload that is no tick ends a read: nobody knows what it was.
func TestReadOfJunk(t *testing.T) {
	s := newTicks(t, 1000)
	s.add(btc, 1, 1, 5)
	if err := s.nc.Publish(subject.Ticks(btc), []byte("junk")); err != nil {
		t.Fatal(err)
	}
	s.n++
	s.add(btc, 1, 6, 9)
	s.settle()
	g := tick.Range{Symbol: btc, Epoch: 1, From: 1, To: 9}
	got, lack, err := Read(t.Context(), s.js, g)
	if err == nil || lack != tick.Refused || runs(t, g, got) != "1-5" {
		t.Errorf("%q, lack %d, %v", runs(t, g, got), lack, err)
	}
}

// BenchmarkRead reads out of a stream of many symbols whose ticks lie evenly among each other, as bad as it gets.
func BenchmarkRead(b *testing.B) {
	const symbols, history = 2000, 1000
	s := newTicks(b, history)
	for seq := range uint64(history) {
		for i := range symbols {
			s.add(subject.Symbol(fmt.Sprint("S", i)), 5, seq+1, seq+1)
		}
		s.settle()
	}
	for _, n := range []uint64{1, 10, 100, 1000} {
		for _, place := range []string{"last", "first"} {
			b.Run(fmt.Sprintf("ticks=%d/at=%s", n, place), func(b *testing.B) {
				i := 0
				for b.Loop() {
					g := tick.Range{Symbol: subject.Symbol(fmt.Sprint("S", i%symbols)), Epoch: 5, From: history - n + 1, To: history}
					if place == "first" {
						g.From, g.To = 1, n
					}
					if got, lack, err := Read(b.Context(), s.js, g); err != nil || lack != tick.Nothing || uint64(len(got)) != n {
						b.Fatal(len(got), lack, err)
					}
					i += 37
				}
			})
		}
	}
}
