package bucket

import (
	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/tick"
	"github.com/tickfan/tickfan/services/edge/internal/socket"
)

// maxDialects is how many encodings a topic keeps ready frames for.
const maxDialects = session.Formats

// Dialect turns what a bucket says into the bytes of one transport. Its frames are whole: they can be joined.
type Dialect interface {
	Index() int                                            // its place among maxDialects
	AppendTick(dst []byte, t *tick.Tick) []byte            // appends a frame
	AppendMessage(dst []byte, m *session.Message) []byte   // appends a frame
	AppendClose(dst []byte, c code.Close, r string) []byte // appends the last frame
	AppendPing(dst []byte) []byte                          // appends a frame that the client must answer
}

// Outlet is the way to one client; *socket.Conn is the one for WebSockets.
type Outlet interface {
	WriteFrames(*socket.Flush) (socket.Result, error)
	Say(frame []byte) error
	SayIfIdle(frame []byte) bool
	End(closeFrame []byte)
	Alive() int64
}

var _ Outlet = (*socket.Conn)(nil)
