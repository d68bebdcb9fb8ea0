package bucket

import (
	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/tick"
	"github.com/tickfan/tickfan/services/edge/internal/socket"
)

const (
	maxDialects   = session.Formats
	wholeDialects = int(session.Compact) // those before Compact: each of their ticks is whole, and a topic keeps it as a frame
)

// Dialect turns what a bucket says into the bytes of one transport. Its frames are whole: they can be joined.
type Dialect interface {
	Index() int                                            // its place among maxDialects
	AppendTick(dst []byte, t *tick.Tick) []byte            // appends a frame; not in Compact
	AppendMessage(dst []byte, m *session.Message) []byte   // appends a frame
	AppendClose(dst []byte, c code.Close, r string) []byte // appends the last frame
	AppendPing(dst []byte) []byte                          // appends a frame that the client must answer

	// Of Compact alone: session.AppendFull and AppendChanged as frames, and Join, which puts the ticks of frame into the
	// frame of ticks that begins at dst[at] and ends with dst; false: that would be too long.
	AppendFull(dst []byte, number uint32, t *tick.Tick, g session.Digits) []byte
	AppendChanged(dst []byte, number uint32, before, t *tick.Tick, g session.Digits) []byte
	Join(dst []byte, at int, frame []byte) ([]byte, bool)
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
