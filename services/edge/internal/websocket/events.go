package websocket

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/lxzan/gws"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/services/edge/internal/bucket"
	"github.com/tickfan/tickfan/services/edge/internal/socket"
)

var noDeadline time.Time

// conn is what gws holds as its connection; through it an event finds its session.
type conn struct {
	*socket.Conn
	session *bucket.Session
	format  session.Format
}

// Write notes with which code gws ends the connection: a frame or a message that broke the rules. An echo of the
// client's own close is not that.
func (c *conn) Write(p []byte) (int, error) {
	if len(p) >= 4 && p[0] == finClose {
		if cc := code.Close(binary.BigEndian.Uint16(p[2:])); cc >= code.ProtocolError && cc <= code.InternalError {
			c.session.Ended(cc)
		}
	}
	return c.Conn.Write(p)
}

// events turns what gws reads into a session's calls. They come one after the other from the connection's reader.
type events struct{}

func (events) OnOpen(*gws.Conn) {}

// OnClose counts how it ended, unless we ended it ourselves.
func (events) OnClose(ws *gws.Conn, err error) {
	c := ws.NetConn().(*conn)
	var closed *gws.CloseError
	switch {
	case !errors.As(err, &closed):
		c.session.Ended(abnormal)
	case closed.Code == 0:
		c.session.Ended(noStatus)
	default:
		c.session.Ended(min(code.Close(closed.Code), applications))
	}
}

// Codes of RFC 6455 for what a close frame does not say, and the first of those that are the client's to choose: they are
// counted as one, for he could choose a thousand.
const (
	noStatus     code.Close = 1005
	abnormal     code.Close = 1006
	applications code.Close = 3000
)

// OnPing answers with the ping's payload (gws's own handler answers with none).
func (events) OnPing(ws *gws.Conn, payload []byte) {
	frame := append([]byte{finPong, byte(len(payload))}, payload...)
	_ = ws.NetConn().(*conn).Say(frame)
}

func (events) OnPong(*gws.Conn, []byte) {}

func (events) OnMessage(ws *gws.Conn, m *gws.Message) {
	defer m.Close()
	c := ws.NetConn().(*conn)
	text := m.Opcode == gws.OpcodeText
	if text != (c.format == session.JSON) {
		want := "text frames"
		if text {
			want = "binary frames"
		}
		c.session.End(code.Unsupported, c.format.String()+" is sent in "+want)
		return
	}
	r, err := session.DecodeRequest(c.format, m.Bytes())
	if err != nil {
		c.session.Refuse(r.ID, err)
		return
	}
	c.session.Do(&r)
}

// noSession stands for gws's store of values a connection, which nothing here uses.
type noSession struct{}

func (noSession) Len() int                     { return 0 }
func (noSession) Load(string) (any, bool)      { return nil, false }
func (noSession) Delete(string)                {}
func (noSession) Store(string, any)            {}
func (noSession) Range(func(string, any) bool) {}

// quiet drops gws's log lines: what goes wrong on a connection is its client's fault or its end, and is counted.
type quiet struct{}

func (quiet) Error(...any) {}
