package session

import (
	"fmt"
	"strconv"

	"github.com/tickfan/tickfan/proto/tick"
	"github.com/tickfan/tickfan/proto/wire"
)

// Format is an encoding of the protocol.
type Format uint8

const (
	JSON        Format = iota // subprotocol tickfan.v1.json, text frames
	MessagePack               // subprotocol tickfan.v1.msgpack, binary frames
	Compact                   // subprotocol tickfan.v1.compact, binary frames: MessagePack but for ticks
	Formats     = 3
)

// Subprotocols as offered in Sec-WebSocket-Protocol. A client that offers none speaks JSON.
var Subprotocols = [Formats]string{JSON: "tickfan.v1.json", MessagePack: "tickfan.v1.msgpack", Compact: "tickfan.v1.compact"}

func (f Format) String() string { return Subprotocols[f] }

// Paths of an edge.
const (
	PathWS      = "/v1/ws"
	PathTicks   = "/v1/ticks/" // + symbol
	PathSymbols = "/v1/symbols"
)

// RangeURL is the path and query of r over HTTP, e.g. /v1/ticks/BTC-USD?epoch=1763769600&from=1040&to=1041.
func RangeURL(r tick.Range) string {
	return fmt.Sprintf("%s%s?epoch=%d&from=%d&to=%d", PathTicks, r.Symbol, r.Epoch, r.From, r.To)
}

// AppendTick appends t as a client sees it, e.g.
//
//	{"op":"tick","symbol":"BTC-USD","epoch":1763769600,"seq":1042,"price":"64123.51","bid":"64123.50","ts":1763769600123456}
//
// Fields that were not given are left out. f is JSON or MessagePack: for Compact there are AppendFull and AppendChanged.
func AppendTick(f Format, dst []byte, t *tick.Tick) []byte {
	if f == JSON {
		return appendTickFields(append(dst, `{"op":"tick",`...), t)
	}
	return appendTickMsgpack(dst, t)
}

// AppendTickJSON is AppendTick in JSON without "op", as HTTP gives it.
func AppendTickJSON(dst []byte, t *tick.Tick) []byte { return appendTickFields(append(dst, '{'), t) }

// appendTickFields needs no escaping: symbols and decimals hold no character that JSON escapes.
func appendTickFields(dst []byte, t *tick.Tick) []byte {
	dst = append(dst, `"symbol":"`...)
	dst = append(dst, t.Symbol...)
	dst = append(dst, `","epoch":`...)
	dst = strconv.AppendUint(dst, t.Epoch, 10)
	dst = append(dst, `,"seq":`...)
	dst = strconv.AppendUint(dst, t.Seq, 10)
	for i, d := range t.Fields() {
		if d.Given() {
			dst = append(dst, `,"`...)
			dst = append(dst, tick.Names[i]...)
			dst = append(dst, `":"`...)
			dst = d.Append(dst)
			dst = append(dst, '"')
		}
	}
	dst = append(dst, `,"ts":`...)
	dst = strconv.AppendInt(dst, t.TS, 10)
	return append(dst, '}')
}

func appendTickMsgpack(dst []byte, t *tick.Tick) []byte {
	n := 5
	fields := t.Fields()
	for _, d := range fields {
		if d.Given() {
			n++
		}
	}
	dst = wire.AppendMap(dst, n)
	dst = wire.AppendStr(wire.AppendStr(dst, "op"), OpTick)
	dst = wire.AppendStr(wire.AppendStr(dst, "symbol"), t.Symbol)
	dst = wire.AppendUint(wire.AppendStr(dst, "epoch"), t.Epoch)
	dst = wire.AppendUint(wire.AppendStr(dst, "seq"), t.Seq)
	for i, d := range fields {
		if d.Given() {
			dst = d.AppendMsgpack(wire.AppendStr(dst, tick.Names[i]))
		}
	}
	return wire.AppendInt(wire.AppendStr(dst, "ts"), t.TS)
}
