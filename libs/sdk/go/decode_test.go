package tickfan

import (
	"testing"

	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/tick"
)

func sampleTick() []byte {
	t := tick.Tick{Symbol: "BTC-USD", Position: Position{Epoch: 1763769600, Seq: 1042}}
	t.Price, t.Bid, t.Ask = tick.MustDecimal("64123.51"), tick.MustDecimal("64123.50"), tick.MustDecimal("64123.52")
	t.TS = 1763769600123456
	return session.AppendTick(session.MessagePack, nil, &t)
}

// FuzzReadTick holds the fast reader to what the protocol's decoder says.
func FuzzReadTick(f *testing.F) {
	f.Add(sampleTick())
	f.Add((&session.Message{Op: session.OpTick, Symbol: "A", Epoch: 1, Seq: 1, Price: 17}).Append(session.MessagePack, nil))
	f.Add((&session.Message{Op: session.OpFresh}).Append(session.MessagePack, nil))
	f.Add([]byte{0x81, 0xa2, 'o', 'p', 0xa4, 't', 'i', 'c', 'k'})
	f.Fuzz(func(t *testing.T, p []byte) {
		var fast Tick
		symbol, ok := readTick(p, &fast)
		if !ok {
			return
		}
		m, err := session.DecodeMessage(session.MessagePack, p)
		if err != nil {
			return // the protocol's decoder is stricter about fields that no edge sends
		}
		slow := Tick{Position: Position{Epoch: m.Epoch, Seq: m.Seq}, Quote: m.Quote()}
		if m.Op != session.OpTick || string(m.Symbol) != string(symbol) || slow != fast {
			t.Errorf("read %s %+v, want %s %+v", symbol, fast, m.Symbol, slow)
		}
	})
}

func TestReadTickDoesNotAllocate(t *testing.T) {
	p := sampleTick()
	var got Tick
	if n := testing.AllocsPerRun(100, func() {
		if _, ok := readTick(p, &got); !ok {
			t.Fatal("not read")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// What a slow reader costs must not grow with what has passed by.
func TestQueueDoesNotGrow(t *testing.T) {
	var q queue
	s := &subscription{}
	for range 10 {
		q.push(entry{sub: s, event: Gap{}})
	}
	for range 1_000_000 {
		q.push(entry{sub: s, event: Gap{}})
		q.pop()
	}
	if q.held != 10 || cap(q.entries) > 8192 {
		t.Errorf("%d held in room for %d", q.held, cap(q.entries))
	}
}

func BenchmarkReadTick(b *testing.B) {
	p := sampleTick()
	b.Run("reader=fast", func(b *testing.B) {
		b.ReportAllocs()
		var t Tick
		for b.Loop() {
			readTick(p, &t)
		}
	})
	b.Run("reader=session", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := session.DecodeMessage(session.MessagePack, p); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkFeed(b *testing.B) {
	p := sampleTick()
	f := newFeed(0)
	f.subscribed(&session.Request{Symbols: names([]string{"BTC-USD"}), Mode: session.Every}, nil)
	b.ReportAllocs()
	seq := uint64(1042)
	for b.Loop() {
		var t Tick
		symbol, _ := readTick(p, &t)
		t.Seq = seq
		seq++
		f.tick(symbol, &t)
		if _, err := f.next(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
