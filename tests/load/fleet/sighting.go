package fleet

import (
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/tick"
	"github.com/tickfan/tickfan/proto/wire"
)

// sighting is what a worker wants of a tick. The scanners read it off the bytes that an edge writes, without checking
// what they need not know: a socket of scenario B and C sees 1,000 ticks a second, and session.DecodeMessage, made for
// clients, takes ten times as long. What they do not recognise, they leave to it.
type sighting struct {
	symbol     []byte // points into the payload
	price      []byte
	epoch, seq uint64
	ts         int64

	ownSymbol [32]byte // what of takes
	ownPrice  [tick.MaxDigits + 1]byte
}

// number is what the price carries; ok is false when it is not one of Price's.
func (s *sighting) number() (n uint64, ok bool) {
	const digits = 7
	p := s.price
	if len(p) != digits+2 || p[digits] != '.' || p[digits+1] != '5' || p[0] == '0' {
		return 0, false
	}
	for _, c := range p[:digits] {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n - firstPrice, true
}

// symbolIndex is n of a symbol L<n>-USD, or -1.
func symbolIndex(symbol []byte) int {
	const tail = "-USD"
	end := len(symbol) - len(tail)
	if end < 2 || end > 10 || symbol[0] != 'L' || string(symbol[end:]) != tail || symbol[1] == '0' && end > 2 {
		return -1
	}
	n := 0
	for _, c := range symbol[1:end] {
		if c < '0' || c > '9' {
			return -1
		}
		n = n*10 + int(c-'0')
	}
	return n
}

// The fields of a tick in JSON, in the order in which session.AppendTick writes them.
const (
	jsonHead  = `{"op":"tick","symbol":"`
	jsonEpoch = `","epoch":`
	jsonSeq   = `,"seq":`
	jsonPrice = `,"price":"`
	jsonTS    = `,"ts":`
)

// scanJSON reads a tick in JSON and tells whether it was one as an edge writes it.
func (s *sighting) scanJSON(p []byte) bool {
	if len(p) < len(jsonHead) || string(p[:len(jsonHead)]) != jsonHead {
		return false
	}
	i, ok := len(jsonHead), false
	if s.symbol, i, ok = quoted(p, i); !ok || !expect(p, i, jsonEpoch) {
		return false
	}
	if s.epoch, i, ok = digits(p, i+len(jsonEpoch)); !ok || !expect(p, i, jsonSeq) {
		return false
	}
	if s.seq, i, ok = digits(p, i+len(jsonSeq)); !ok || !expect(p, i, jsonPrice) {
		return false
	}
	if s.price, i, ok = quoted(p, i+len(jsonPrice)); !ok {
		return false
	}
	i++ // the quote after the price
	for !expect(p, i, jsonTS) {
		if i, ok = passField(p, i); !ok {
			return false
		}
	}
	ts, i, ok := digits(p, i+len(jsonTS))
	s.ts = int64(ts)
	return ok && i == len(p)-1 && p[i] == '}'
}

func expect(p []byte, i int, text string) bool {
	return len(p)-i >= len(text) && string(p[i:i+len(text)]) == text
}

// quoted reads up to a quote, of letters that need no escape, and gives the place of the quote.
func quoted(p []byte, i int) (text []byte, end int, ok bool) {
	for j := i; j < len(p); j++ {
		switch c := p[j]; {
		case c == '"':
			return p[i:j], j, true
		case c < '-' || c > 'z' || c == '\\':
			return nil, 0, false
		}
	}
	return nil, 0, false
}

// digits reads an integer of at most 18 digits.
func digits(p []byte, i int) (n uint64, end int, ok bool) {
	j := i
	for ; j < len(p) && p[j] >= '0' && p[j] <= '9'; j++ {
		n = n*10 + uint64(p[j]-'0')
	}
	return n, j, j > i && j-i <= 18
}

// passField passes over `,"bid":"64123.50"` and gives the place after it.
func passField(p []byte, i int) (end int, ok bool) {
	if !expect(p, i, `,"`) {
		return 0, false
	}
	name, i, ok := quoted(p, i+2)
	if !ok || !otherField(name) || !expect(p, i, `":"`) {
		return 0, false
	}
	_, i, ok = quoted(p, i+3)
	return i + 1, ok
}

// otherField tells the fields of a tick that a worker passes over.
func otherField(name []byte) bool {
	switch string(name) {
	case "bid", "ask", "size", "bid_size", "ask_size", "open", "high", "low", "volume":
		return true
	}
	return false
}

// scanMsgpack reads a tick in MessagePack and tells whether it was one as an edge writes it.
func (s *sighting) scanMsgpack(p []byte) bool {
	const head = "\xa2op\xa4tick\xa6symbol"
	if len(p) < 1+len(head) || p[0]&0xf0 != 0x80 || string(p[1:1+len(head)]) != head {
		return false
	}
	fields := int(p[0]&0x0f) - 2
	r := wire.NewReader(p[1+len(head):])
	if s.symbol = r.Str(); string(r.Str()) != "epoch" {
		return false
	}
	if s.epoch = r.Uint(); string(r.Str()) != "seq" {
		return false
	}
	if s.seq = r.Uint(); string(r.Str()) != "price" {
		return false
	}
	s.price = r.Str()
	for fields -= 3; fields > 1; fields-- {
		if !otherField(r.Str()) {
			return false
		}
		r.Str()
	}
	if string(r.Str()) != "ts" {
		return false
	}
	s.ts = r.Int()
	return fields == 1 && r.Err() == nil && r.Left() == 0
}

// take is the way for a tick that a scanner does not recognise: m is what session.DecodeMessage made of it.
func (s *sighting) take(m *session.Message) {
	s.symbol, s.price = []byte(m.Symbol), []byte(m.Price.String())
	s.epoch, s.seq, s.ts = m.Epoch, m.Seq, m.TS
}

// of takes a tick that is decoded already, into buffers of its own.
func (s *sighting) of(t *tick.Tick) {
	s.symbol, s.price = append(s.ownSymbol[:0], t.Symbol...), t.Price.Append(s.ownPrice[:0])
	s.epoch, s.seq, s.ts = t.Epoch, t.Seq, t.TS
}
