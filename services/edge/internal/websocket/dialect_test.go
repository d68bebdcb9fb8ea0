package websocket

import (
	"bytes"
	"testing"

	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

// payload reads one frame of a server and gives what follows it.
func payload(t *testing.T, frame []byte, first byte) (p, rest []byte) {
	t.Helper()
	if len(frame) < 2 || frame[0] != first {
		t.Fatalf("frame begins with %.4x, want %x", frame, first)
	}
	n, at := int(frame[1]), 2
	switch n {
	case 126:
		n, at = int(frame[2])<<8|int(frame[3]), 4
	case 127:
		for _, b := range frame[2:10] {
			n = n<<8 | int(b)
		}
		at = 10
	}
	return frame[at : at+n], frame[at+n:]
}

// Messages of each length, around those where the header changes its size.
func TestFrameHeaders(t *testing.T) {
	for _, symbols := range []int{1, 10, 11, 12, 1000, 10000} {
		for f := range session.Format(session.Formats) {
			m := session.Message{Op: session.OpUnsubscribed}
			for range symbols {
				m.Symbols = append(m.Symbols, "BTC-USD")
			}
			first := byte(finBinary)
			if f == session.JSON {
				first = finText
			}
			p, rest := payload(t, dialect(f).AppendMessage([]byte("head"), &m)[4:], first)
			if !bytes.Equal(p, m.Append(f, nil)) || len(rest) > 0 {
				t.Errorf("%s: %d symbols come back as %d bytes, %d left", f, symbols, len(p), len(rest))
			}
		}
	}
}

// Joined frames hold the ticks of all that were joined, and never more than a short header can tell.
func TestJoin(t *testing.T) {
	d := dialect(session.Compact)
	x := tick.Tick{Symbol: "X", Position: tick.Position{Epoch: 1, Seq: 1}, Quote: tick.Quote{Price: tick.MustDecimal("64123.51"), TS: 1}}
	g := session.Digits(0).Cover(&x)
	frames := d.AppendFull([]byte("head"), 1, &x, g)
	at, joined, count := 4, 0, 1
	for range 100 {
		y := x
		y.Seq++
		y.TS += 1000
		y.Price = tick.NewDecimal(x.Price.Coef()+y.Seq%3, 2)
		frame := d.AppendChanged(nil, 1, &x, &y, g)
		if longer, ok := d.Join(frames, at, frame); ok {
			frames = longer
			joined++
		} else {
			at = len(frames)
			frames = append(frames, frame...)
			count++
		}
		x = y
	}
	var decoder session.Decoder
	if err := decoder.Subscribed(&session.Message{Symbols: []subject.Symbol{"X"}, Numbers: []uint32{1}}); err != nil {
		t.Fatal(err)
	}
	seq, messages := uint64(0), 0
	for rest := frames[4:]; len(rest) > 0; messages++ {
		var p []byte
		if p, rest = payload(t, rest, finBinary); len(p) > maxControl {
			t.Errorf("a message of %d bytes", len(p))
		}
		for len(p) > 0 {
			got, left, err := decoder.Next(p)
			if err != nil {
				t.Fatal(err)
			}
			if seq++; got.Seq != seq {
				t.Fatalf("got %d, want %d", got.Seq, seq)
			}
			p = left
		}
	}
	if seq != 101 || messages != count || joined < 80 {
		t.Errorf("%d ticks in %d messages, %d joined; want 101 in %d", seq, messages, joined, count)
	}
	long := append(frames[:0:0], finBinary, 126, 0, 126)
	if _, ok := d.Join(append(long, make([]byte, 126)...), 0, d.AppendChanged(nil, 1, &tick.Tick{}, &x, g)); ok {
		t.Error("a long frame is joined to")
	}
	if _, ok := d.Join(d.AppendFull(nil, 1, &x, g), 0, append(long, make([]byte, 126)...)); ok {
		t.Error("a long frame is joined")
	}
}
