package vectors_test

import (
	"encoding/hex"
	"testing"

	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

// connection is what an edge says on one connection in Compact, from its beginning.
type connection struct {
	Name     string    `json:"name"`
	Messages []compact `json:"messages"`
}

// compact is one message and what it says, in JSON; a message that must be refused says nothing.
type compact struct {
	Hex  string   `json:"hex"`
	Says []string `json:"says,omitempty"`
}

// script makes a connection as an edge that encodes by hand does.
type script struct {
	messages []compact
	number   uint32
	digits   session.Digits
	last     tick.Tick
}

func (s *script) say(m session.Message) {
	s.messages = append(s.messages, compact{Hex: hex.EncodeToString(m.Append(session.Compact, nil)), Says: []string{string(m.Append(session.JSON, nil))}})
}

func (s *script) subscribed(symbol subject.Symbol, number uint32) {
	s.number = number
	s.say(session.Message{Op: session.OpSubscribed, ID: id(1), Symbols: []subject.Symbol{symbol}, Numbers: []uint32{number}})
}

// ticks adds a message of ticks: the first in full form if full says so, the others changed.
func (s *script) ticks(full bool, ticks ...tick.Tick) {
	var p []byte
	var says []string
	for i := range ticks {
		t := &ticks[i]
		if full && i == 0 {
			for k := range ticks {
				s.digits = s.digits.Cover(&ticks[k])
			}
			p = session.AppendFull(p, s.number, t, s.digits)
		} else {
			p = session.AppendChanged(p, s.number, &s.last, t, s.digits)
		}
		s.last = *t
		says = append(says, string(session.AppendTick(session.JSON, nil, t)))
	}
	s.messages = append(s.messages, compact{Hex: hex.EncodeToString(p), Says: says})
}

// quoted is a tick of BTC-USD from its decimals in the order of tick.Names; "" is not given.
func quoted(seq uint64, ts int64, decimals ...string) tick.Tick {
	t := tick.Tick{Symbol: "BTC-USD", Position: tick.Position{Epoch: 1763769600, Seq: seq}}
	t.TS = ts
	for i, d := range decimals {
		if d != "" {
			*t.Fields()[i] = tick.MustDecimal(d)
		}
	}
	return t
}

func connections() []connection {
	const at = 1763769600123456
	var all []connection
	add := func(name string, f func(s *script)) {
		var s script
		f(&s)
		all = append(all, connection{name, s.messages})
	}
	add("the example of PROTOCOL.md", func(s *script) {
		s.subscribed("BTC-USD", 5)
		s.ticks(true, quoted(1042, at, "64123.51", "64123.50"))
		s.ticks(false, quoted(1043, 1763769600223001, "64123.60", "64123.50"))
		s.ticks(false, quoted(1045, 1763769600223000, "64123.6"))
	})
	add("all fields, several ticks in a message", func(s *script) {
		s.subscribed("BTC-USD", 1)
		s.ticks(true, quoted(1, at, "62975.91", "62975.90", "62975.91", "0.06180656", "0.00001797", "0.01479766", "63798.2", "64199.93", "62583", "8737.20775975"),
			quoted(2, at+1, "62975.90", "62975.90", "62975.91", "0.00000001", "0.00001796", "0.01479766", "63798.2", "64199.93", "62583", "8737.20775976"),
			quoted(3, at+1000000, "62975.90", "62975.90", "62975.91", "12", "0", "0.00000000", "63798.20", "64199.93", "62583.0", "8738"))
		s.ticks(false, quoted(4, at, "62975.90"))
		s.ticks(false, quoted(5, at-1, "62975.90", "62975.90", "62975.91", "0.06180656", "0.00001797", "0.01479766", "63798.2", "64199.93", "62583", "8737.20775975"))
	})
	add("numbers of one, two and more bytes", func(s *script) {
		for _, n := range []uint32{127, 128, 8191, 8192, session.MaxNumber} {
			s.subscribed("BTC-USD", n)
			s.ticks(true, quoted(1, at, "1"))
			s.ticks(false, quoted(2, at, "2"))
		}
	})
	add("whole seconds, and the longest decimals", func(s *script) {
		s.subscribed("BTC-USD", 1)
		s.ticks(true, quoted(1, 1763769600000000, "999999999999999999", "999999.999999999999"))
		s.ticks(false, quoted(2, 1763769601000000, "1", "0.000000000001"))
	})
	add("subscribed again: full, also where nothing changed", func(s *script) {
		s.subscribed("BTC-USD", 1)
		s.ticks(true, quoted(1, at, "1.50"))
		s.subscribed("BTC-USD", 1)
		s.ticks(true, quoted(1, at, "1.50"))
		s.ticks(false, quoted(2, at, "1.50"))
	})
	add("a new epoch: full", func(s *script) {
		s.subscribed("BTC-USD", 1)
		s.ticks(true, quoted(9, at, "1.50"))
		t := quoted(1, at, "1.51")
		t.Epoch++
		s.ticks(true, t)
	})
	return all
}

func refusals() []connection {
	const at = 1763769600123456
	var all []connection
	add := func(name, last string) {
		var s script
		s.subscribed("BTC-USD", 5)
		s.ticks(true, quoted(1042, at, "64123.51", "64123.50"))
		all = append(all, connection{name, append(s.messages, compact{Hex: last})})
	}
	add("a number that nothing is subscribed under", "0601b2930c12")
	add("cut", "0501b2930c")
	add("a value below 0", "050100ffffff0f")
	add("a field that there is not", "05802000")
	add("a price that is gone", "058010010000")
	add("digits that the scale has no room for", "058010010200")
	add("a seq that does not rise", "0580080000")
	add("neither a number nor a map", "ff")
	return all
}

// play decodes a connection; the error is of its last message.
func play(t *testing.T, c connection) (says [][]string, err error) {
	t.Helper()
	var d session.Decoder
	for i, m := range c.Messages {
		if err != nil {
			t.Fatalf("%s: message %d is refused: %v", c.Name, i-1, err)
		}
		var p []byte
		if p, err = hex.DecodeString(m.Hex); err != nil {
			t.Fatal(err)
		}
		says = append(says, nil)
		if !session.IsTicks(p) {
			var said session.Message
			if said, err = session.DecodeMessage(session.Compact, p); err == nil {
				says[i] = append(says[i], string(said.Append(session.JSON, nil)))
				err = d.Subscribed(&said)
			}
			continue
		}
		for len(p) > 0 && err == nil {
			var x *tick.Tick
			if x, p, err = d.Next(p); err == nil {
				says[i] = append(says[i], string(session.AppendTick(session.JSON, nil, x)))
			}
		}
	}
	return says, err
}

func TestVectorsCompact(t *testing.T) {
	for _, c := range golden(t, "compact.json", connections()) {
		says, err := play(t, c)
		if err != nil {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		for i, m := range c.Messages {
			if text(t, says[i]) != text(t, m.Says) {
				t.Errorf("%s, message %d: %q, want %q", c.Name, i, says[i], m.Says)
			}
		}
	}
}

func TestVectorsCompactRefused(t *testing.T) {
	for _, c := range golden(t, "compact_refused.json", refusals()) {
		if says, err := play(t, c); err == nil {
			t.Errorf("%s: taken for %q", c.Name, says[len(says)-1])
		}
	}
}
