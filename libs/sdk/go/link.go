package tickfan

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/lxzan/gws"
	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/session"
)

const (
	pingEvery    = 15 * time.Second
	deadAfter    = 60 * time.Second // nothing heard, not even the answers to our pings
	writeTimeout = 10 * time.Second
	closeTimeout = time.Second
)

// link is one connection to an edge. gws calls its On methods from ReadLoop, which the Client runs.
type link struct {
	client *Client
	format session.Format // what the edge chose
	url    *url.URL
	conn   *socket
	ws     *gws.Conn
	done   chan struct{} // closed when ReadLoop has ended

	// Of the goroutine in ReadLoop.
	decoder  session.Decoder // where format is Compact
	closed   error           // what gws ended with
	fault    *code.Error     // the last error that named no request
	comeBack time.Time       // when the edge wants us at another one, or back, if it said so
	leaving  *time.Timer     // until then

	mu     sync.Mutex
	cause  error // why we ended it ourselves
	pinged time.Time
	pingID int64
}

func (l *link) OnOpen(*gws.Conn) {}

func (l *link) OnClose(_ *gws.Conn, err error) { l.closed = err }

func (l *link) OnPing(ws *gws.Conn, payload []byte) {
	// An error has ended the connection, and ReadLoop finds that out.
	_ = ws.WritePong(payload)
}

func (l *link) OnPong(*gws.Conn, []byte) {}

func (l *link) OnMessage(_ *gws.Conn, m *gws.Message) {
	err := l.client.receive(l, m.Opcode, m.Bytes())
	m.Close()
	if err != nil {
		l.end(code.ProtocolError, err)
		return
	}
	l.client.feed.waitRoom(l.client.ctx.Done())
}

// numbers takes note of the numbers that symbols have on this connection.
func (l *link) numbers(m *session.Message) error {
	switch m.Op {
	case session.OpSubscribed:
		return l.decoder.Subscribed(m)
	case session.OpUnsubscribed:
		l.decoder.Unsubscribed(m)
	}
	return nil
}

// write sends one message; an error has ended the connection.
func (l *link) write(p []byte) error {
	op := gws.OpcodeText
	if l.format != session.JSON {
		op = gws.OpcodeBinary
	}
	if err := l.ws.WriteMessage(op, p); err != nil {
		return fmt.Errorf("write to edge: %w", err)
	}
	return nil
}

// ping shows the edge that we live, and asks for its clock. While the reader is held up a pong that nobody asked for
// does: an answer could not be taken, and an edge that cannot get rid of an answer reads no further.
func (l *link) ping(id int64) error {
	if l.client.feed.full() {
		return l.ws.WritePong(nil)
	}
	l.mu.Lock()
	l.pingID, l.pinged = id, time.Now()
	l.mu.Unlock()
	return l.write(session.AppendRequest(l.format, nil, &session.Request{Op: session.OpPing, ID: &id}))
}

// pong gives when the ping was sent that id answers.
func (l *link) pong(id int64) (sent time.Time, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pinged, l.pingID == id
}

// leave goes to another edge in a while. The edge serves on until then, or closes before.
func (l *link) leave(after time.Duration) {
	l.stay()
	l.comeBack = time.Now().Add(after)
	l.leaving = time.AfterFunc(after, func() { l.end(normalClosure, errAskedToLeave) })
}

func (l *link) stay() {
	if l.leaving != nil {
		l.leaving.Stop()
	}
}

// end closes the connection from our side.
func (l *link) end(c code.Close, cause error) {
	l.mu.Lock()
	if l.cause == nil {
		l.cause = cause
	}
	l.mu.Unlock()
	l.conn.hurry()
	// It is over either way: an error means that it was closed before.
	_ = l.ws.WriteClose(uint16(c), nil)
}

// why tells what ended the connection. It is for after ReadLoop.
func (l *link) why() error {
	l.mu.Lock()
	cause := l.cause
	l.mu.Unlock()
	var closed *gws.CloseError
	switch {
	case cause != nil:
		return cause
	case errors.As(l.closed, &closed):
		return &CloseError{Code: code.Close(closed.Code), Reason: string(closed.Reason), Fault: l.fault}
	case errors.Is(l.closed, os.ErrDeadlineExceeded):
		return fmt.Errorf("connection lost: the edge is silent: %w", l.closed)
	case errors.Is(l.closed, io.EOF):
		return fmt.Errorf("connection lost: %w", io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("connection lost: %w", l.closed)
}
