package tick

import (
	"fmt"
	"testing"

	"github.com/tickfan/tickfan/proto/wire"
	"github.com/vmihailenco/msgpack/v5"
)

// reference is a Tick as vmihailenco/msgpack takes it: the same elements in the same order, decimals as text.
type reference struct {
	//lint:ignore U1000 msgpack looks for it
	_msgpack                                                         struct{} `msgpack:",as_array"`
	Kind                                                             uint64
	Symbol                                                           string
	Epoch, Seq                                                       uint64
	At, TS                                                           int64
	Flags, PrevEpoch, PrevSeq                                        uint64
	Price, Bid, Ask, Size, BidSize, AskSize, Open, High, Low, Volume string
}

func newReference(t *Tick) *reference {
	return &reference{Kind: uint64(wire.KindTick), Symbol: string(t.Symbol), Epoch: t.Epoch, Seq: t.Seq, At: t.At, TS: t.TS,
		PrevEpoch: t.Prev.Epoch, PrevSeq: t.Prev.Seq, Price: t.Price.String(), Bid: t.Bid.String(), Ask: t.Ask.String(),
		Size: t.Size.String(), BidSize: t.BidSize.String(), AskSize: t.AskSize.String(), Open: t.Open.String(),
		High: t.High.String(), Low: t.Low.String(), Volume: t.Volume.String()}
}

func benchTick() Tick {
	t := full()
	t.Again = false
	return t
}

func BenchmarkEncode(b *testing.B) {
	t := benchTick()
	b.Run("codec=wire", func(b *testing.B) {
		b.ReportAllocs()
		var buf []byte
		for b.Loop() {
			buf = t.Append(buf[:0])
		}
	})
	b.Run("codec=vmihailenco", func(b *testing.B) {
		b.ReportAllocs()
		ref := newReference(&t)
		for b.Loop() {
			if _, err := msgpack.Marshal(ref); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	t := benchTick()
	p := t.Append(nil)
	b.Run("codec=wire", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Decode(p); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("codec=wire/part=head", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := DecodeHead(p); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("codec=vmihailenco", func(b *testing.B) {
		b.ReportAllocs()
		var ref reference
		for b.Loop() {
			if err := msgpack.Unmarshal(p, &ref); err != nil {
				b.Fatal(err)
			}
		}
		if ref.Price != t.Price.String() || ref.Volume != t.Volume.String() {
			b.Fatalf("not the same tick: %+v", ref)
		}
	})
}

func BenchmarkBatchDecode(b *testing.B) {
	t := benchTick()
	for _, items := range []int{1, 50} {
		batch := Batch{Router: "router-1", Number: 1}
		for range items {
			batch.Items = append(batch.Items, t.Append(nil))
		}
		p := batch.Append(nil)
		b.Run(fmt.Sprintf("items=%d", items), func(b *testing.B) {
			b.ReportAllocs()
			var into Batch
			for b.Loop() {
				if err := into.Decode(p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParseQuote(b *testing.B) {
	for name, p := range map[string]string{
		"bare":    "64123.51",
		"json":    `{"price":"64123.51","bid":"64123.50","ask":"64123.52","ts":1763769600123456}`,
		"msgpack": "\x83\xa5price\xa864123.51\xa3bid\xa864123.50\xa3ask\xa864123.52",
	} {
		b.Run("payload="+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ParseQuote([]byte(p), now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
