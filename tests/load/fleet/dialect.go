package fleet

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/wire"
)

// subprotocol is what a client of this dialect offers; "": nothing.
func (d Dialect) subprotocol() string {
	switch d {
	case JSON:
		return session.JSON.String()
	case MessagePack:
		return session.MessagePack.String()
	case Compact:
		return session.Compact.String()
	}
	return ""
}

// Known tells whether a fleet speaks the dialect.
func (d Dialect) Known() bool {
	switch d {
	case JSON, MessagePack, Compact, Frames, NATS:
		return true
	}
	return false
}

// format is that of the messages that are no ticks.
func (d Dialect) format() session.Format {
	switch d {
	case MessagePack:
		return session.MessagePack
	case Compact:
		return session.Compact
	}
	return session.JSON
}

// handshake is the request that opens a WebSocket. The key is the example of RFC 6455, so that the answer is known.
func handshake(d Dialect, target, path string) []byte {
	if path == "" {
		if path = session.PathWS; d == NATS {
			path = "/"
		}
	}
	offered := ""
	if s := d.subprotocol(); s != "" {
		offered = "Sec-WebSocket-Protocol: " + s + "\r\n"
	}
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n", path, target, offered)
}

// handshakeAccept is the answer's Sec-WebSocket-Accept.
const handshakeAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

// upgraded looks at the head of an answer to a handshake and says what is wrong with it.
func upgraded(d Dialect, head string) (fault string) {
	status, fields, _ := strings.Cut(head, "\r\n")
	if !strings.HasPrefix(status, "HTTP/1.1 101") {
		return status
	}
	accept, protocol := "", ""
	for line := range strings.SplitSeq(fields, "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		switch strings.ToLower(name) {
		case "sec-websocket-accept":
			accept = strings.TrimSpace(value)
		case "sec-websocket-protocol":
			protocol = strings.TrimSpace(value)
		}
	}
	switch {
	case accept != handshakeAccept:
		return "upgraded with a wrong Sec-WebSocket-Accept"
	case protocol != d.subprotocol():
		return fmt.Sprintf("upgraded to subprotocol %q", protocol)
	}
	return ""
}

// appendSubscribe appends the frames with which a client asks for its symbols once the handshake is done.
func (p *Plan) appendSubscribe(b []byte, symbols []string) []byte {
	switch p.Dialect {
	case JSON:
		return appendFrame(b, opText, p.subscribeJSON(symbols))
	case MessagePack, Compact:
		return appendFrame(b, opBinary, p.subscribeMsgpack(symbols))
	case NATS:
		return appendFrame(b, opBinary, subscribeNATS(symbols))
	}
	return b
}

// subscribeJSON needs no escapes: symbols and modes hold nothing that JSON escapes.
func (p *Plan) subscribeJSON(symbols []string) []byte {
	b := append([]byte(`{"op":"subscribe","id":1,"symbols":["`), strings.Join(symbols, `","`)...)
	b = append(b, `"]`...)
	if p.Mode != "" {
		b = append(append(append(b, `,"mode":"`...), p.Mode...), '"')
	}
	if p.MaxRate > 0 {
		b = strconv.AppendInt(append(b, `,"max_rate":`...), int64(p.MaxRate), 10)
	}
	return append(b, '}')
}

func (p *Plan) subscribeMsgpack(symbols []string) []byte {
	fields := 3
	if p.Mode != "" {
		fields++
	}
	if p.MaxRate > 0 {
		fields++
	}
	b := wire.AppendMap(nil, fields)
	b = wire.AppendStr(wire.AppendStr(b, "op"), session.OpSubscribe)
	b = wire.AppendInt(wire.AppendStr(b, "id"), 1)
	b = wire.AppendArray(wire.AppendStr(b, "symbols"), len(symbols))
	for _, s := range symbols {
		b = wire.AppendStr(b, s)
	}
	if p.Mode != "" {
		b = wire.AppendStr(wire.AppendStr(b, "mode"), p.Mode)
	}
	if p.MaxRate > 0 {
		b = wire.AppendInt(wire.AppendStr(b, "max_rate"), int64(p.MaxRate))
	}
	return b
}

// subscribeNATS ends with a PING: its PONG says that the server has taken the subscriptions.
func subscribeNATS(symbols []string) []byte {
	b := []byte(`CONNECT {"verbose":false,"pedantic":false,"protocol":1,"name":"load"}` + "\r\n")
	for i, s := range symbols {
		b = fmt.Appendf(b, "SUB %s %d\r\n", Subject(s), i+1)
	}
	return append(b, "PING\r\n"...)
}

// natsOp is one operation of the NATS protocol from a server: PING, PONG, INFO, MSG, -ERR, +OK.
type natsOp struct {
	verb    string
	payload []byte // of MSG; of others what follows the verb
}

// cutNATS takes an operation off the head of p and gives the number of its bytes; 0: it has not come whole.
func (o *natsOp) cutNATS(p []byte) (int, error) {
	end := lineEnd(p)
	if end < 0 {
		if len(p) > largestFrame {
			return 0, errHuge
		}
		return 0, nil
	}
	line := p[:end]
	end += 2
	switch {
	case len(line) > 4 && string(line[:4]) == "MSG ":
		size, ok := lastInteger(line)
		if !ok || size > largestFrame {
			return 0, fmt.Errorf("NATS: %q", line)
		}
		if len(p) < end+size+2 {
			return 0, nil
		}
		if p[end+size] != '\r' || p[end+size+1] != '\n' {
			return 0, fmt.Errorf("NATS: no end of line after %d bytes of a message", size)
		}
		o.verb, o.payload = "MSG", p[end:end+size]
		return end + size + 2, nil
	case string(line) == "PING":
		o.verb = "PING"
	case string(line) == "PONG":
		o.verb = "PONG"
	case string(line) == "+OK":
		o.verb = "+OK"
	case len(line) > 5 && string(line[:5]) == "INFO ":
		o.verb, o.payload = "INFO", line[5:]
	case len(line) > 5 && string(line[:5]) == "-ERR ":
		o.verb, o.payload = "-ERR", line[5:]
	default:
		return 0, fmt.Errorf("NATS: %q", line[:min(len(line), 64)])
	}
	return end, nil
}

// lineEnd is where the first "\r\n" is, or -1.
func lineEnd(p []byte) int {
	for i := 1; i < len(p); i++ {
		if p[i] == '\n' && p[i-1] == '\r' {
			return i - 1
		}
	}
	return -1
}

// lastInteger reads the digits after the last space.
func lastInteger(line []byte) (n int, ok bool) {
	scale := 1
	for i := len(line) - 1; i >= 0 && scale <= 1_000_000_000; i-- {
		c := line[i]
		if c == ' ' {
			return n, scale > 1
		}
		if c < '0' || c > '9' {
			return 0, false
		}
		n += int(c-'0') * scale
		scale *= 10
	}
	return 0, false
}
