package websocket

import (
	"bytes"
	stdflate "compress/flate"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

func TestNegotiation(t *testing.T) {
	for offer, want := range map[string]bool{
		"permessage-deflate":                         true,
		"permessage-deflate; client_max_window_bits": true,
		"Permessage-Deflate ;client_max_window_bits=15 ; server_no_context_takeover":  true,
		`permessage-deflate; client_max_window_bits="10"; client_no_context_takeover`: true,
		"x-webkit-deflate-frame, permessage-deflate":                                  true,
		"permessage-deflate; server_max_window_bits=10, permessage-deflate":           true,
		"":                       false,
		"x-webkit-deflate-frame": false,
		"permessage-deflate; server_max_window_bits=15":                              false,
		"permessage-deflate; server_max_window_bits":                                 false,
		"permessage-deflate; client_max_window_bits=16":                              false,
		"permessage-deflate; client_max_window_bits=08":                              false,
		"permessage-deflate; client_no_context_takeover=1":                           false,
		"permessage-deflate; client_no_context_takeover; client_no_context_takeover": false,
		"permessage-deflate; turbo":                                                  false,
		"permessage-deflate;":                                                        false,
		"permessage-deflates":                                                        false,
	} {
		if got := offersDeflate(http.Header{extensionsHeader: {"foo", offer}}); got != want {
			t.Errorf("%q: %t", offer, got)
		}
	}
	if offersDeflate(http.Header{}) {
		t.Error("who offers nothing gets compression")
	}
}

// inflated is p inflated by the standard library, to at most a message and one.
func inflated(p []byte) ([]byte, error) {
	r := stdflate.NewReader(io.MultiReader(bytes.NewReader(p), strings.NewReader(endOfMessage)))
	return io.ReadAll(io.LimitReader(r, session.MaxMessage+1))
}

// What comes out is what the standard library makes of it, and never longer than a message; what goes in comes out.
func FuzzInflate(f *testing.F) {
	f.Add([]byte(""))
	f.Add([]byte{0})
	f.Add([]byte{0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00}) // with a last block, RFC 7692, 7.2.3.4
	f.Add(appendDeflated(nil, []byte(strings.Repeat("hello ", 1000))))
	f.Add(appendDeflated(nil, make([]byte, session.MaxMessage)))
	f.Add(appendDeflated(nil, make([]byte, session.MaxMessage+1)))
	f.Add(appendDeflated(nil, make([]byte, 4<<20)))
	var pool inflaters
	f.Fuzz(func(t *testing.T, p []byte) {
		i := pool.get()
		defer pool.put(i)
		want, err := inflated(p)
		got, fault := i.inflate(p)
		switch {
		case len(want) > session.MaxMessage:
			if fault != code.TooBig {
				t.Fatalf("%d bytes and more: fault %d", len(want), fault)
			}
		case err != nil:
			if fault != code.InvalidPayload {
				t.Fatalf("%v: fault %d", err, fault)
			}
		case fault != 0 || !bytes.Equal(got, want):
			t.Fatalf("got %q, fault %d, want %q", got, fault, want)
		}
		if len(p) > session.MaxMessage {
			return
		}
		if back, fault := i.inflate(appendDeflated(nil, p)); fault != 0 || !bytes.Equal(back, p) {
			t.Fatalf("%q comes back as %q, fault %d", p, back, fault)
		}
	})
}

// A message that is a thousand times longer when inflated costs what a message of the longest length costs.
func TestBombIsCheap(t *testing.T) {
	bomb := appendDeflated(nil, make([]byte, 256<<20))[:session.MaxMessage]
	var pool inflaters
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 20 {
		i := pool.get()
		if _, fault := i.inflate(bomb); fault != code.TooBig {
			t.Fatalf("fault %d", fault)
		}
		if len(i.out) > session.MaxMessage+1<<10 {
			t.Fatalf("%d bytes were made of it", len(i.out))
		}
		pool.put(i)
	}
	runtime.ReadMemStats(&after)
	if n := (after.TotalAlloc - before.TotalAlloc) / 20; n > 256<<10 {
		t.Errorf("%d bytes are allocated for a bomb", n)
	}
}

// answer is a subscribed with so many symbols.
func answer(n int) *session.Message {
	m := &session.Message{Op: session.OpSubscribed, ID: new(int64)}
	for i := range n {
		m.Symbols = append(m.Symbols, subject.Symbol(fmt.Sprintf("%s-USD", strings.ToUpper(fmt.Sprintf("%x", i*i*7919+i*31337)))))
	}
	return m
}

// Large answers are compressed, small ones and ticks are as in any dialect.
func TestDeflatingDialect(t *testing.T) {
	var pool inflaters
	for _, f := range []session.Format{session.JSON, session.MessagePack} {
		for _, n := range []int{1, 100, 1000, 6000} { // the last is longer than 64 KB: more header
			plain := dialect(f).AppendMessage([]byte("before"), answer(n))
			got := deflating{dialect(f)}.AppendMessage([]byte("before"), answer(n))
			if len(plain) < deflateThreshold {
				if !bytes.Equal(got, plain) {
					t.Errorf("%s: %d symbols: % x", f, n, got)
				}
				continue
			}
			if !bytes.HasPrefix(got, []byte("before")) || got[6] != plain[6]|rsv1 || len(got) >= len(plain) {
				t.Fatalf("%s: %d symbols: %d bytes of %d, first % x", f, n, len(got), len(plain), got[:10])
			}
			back, fault := pool.get().inflate(body(got[6:]))
			if want := body(plain[6:]); fault == 0 && !bytes.Equal(back, want) || fault != 0 && len(want) <= session.MaxMessage {
				t.Errorf("%s: %d symbols: comes back as %.50q, fault %d", f, n, back, fault)
			}
		}
		x := &tick.Tick{Symbol: "BTC-USD", Position: tick.Position{Epoch: 1, Seq: 1}, Quote: tick.Quote{Price: tick.MustDecimal("1")}}
		if !bytes.Equal(deflating{dialect(f)}.AppendTick(nil, x), dialect(f).AppendTick(nil, x)) {
			t.Errorf("%s: a tick is another", f)
		}
	}
}

// body is that of an edge's frame.
func body(p []byte) []byte {
	switch p[1] {
	case 126:
		return p[4:]
	case 127:
		return p[10:]
	}
	return p[2:]
}

func TestDialectOfAConnectionIsFree(t *testing.T) {
	o := offer{format: session.MessagePack, deflate: true}
	if n := testing.AllocsPerRun(100, func() { _ = o.dialect() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAnswer(b *testing.B) {
	for _, n := range []int{20, 50, 100, 200, 1000} {
		for _, f := range []session.Format{session.JSON, session.MessagePack} {
			m := answer(n)
			plain := dialect(f).AppendMessage(nil, m)
			b.Run(fmt.Sprintf("format=%s/symbols=%d/plain", f, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					plain = dialect(f).AppendMessage(plain[:0], m)
				}
				b.ReportMetric(float64(len(plain)), "bytes")
			})
			b.Run(fmt.Sprintf("format=%s/symbols=%d/deflated", f, n), func(b *testing.B) {
				b.ReportAllocs()
				var p []byte
				for b.Loop() {
					p = appendDeflated(p[:0], body(plain))
				}
				b.ReportMetric(float64(len(p)), "bytes")
			})
		}
	}
}

func BenchmarkInflate(b *testing.B) {
	ping, long := []byte(`{"op":"ping","id":17}`), bytes.Repeat([]byte(`"BTC-USD",`), 1000)
	bomb := appendDeflated(nil, make([]byte, 256<<20))[:session.MaxMessage]
	for _, x := range []struct {
		name string
		p    []byte
	}{{"ping", appendDeflated(nil, ping)}, {"long", appendDeflated(nil, long)}, {"bomb", bomb}} {
		b.Run("message="+x.name, func(b *testing.B) {
			b.ReportAllocs()
			var pool inflaters
			for b.Loop() {
				i := pool.get()
				_, _ = i.inflate(x.p)
				pool.put(i)
			}
		})
	}
}
