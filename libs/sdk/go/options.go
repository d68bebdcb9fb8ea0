package tickfan

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
)

// Encoding is how messages travel. All carry the same.
type Encoding uint8

const (
	Best        Encoding = iota // the first of Compact, MessagePack, JSON that the edge speaks
	Compact                     // ticks as what has changed: a tenth of the bytes or less
	MessagePack                 // each message by itself
	JSON                        // can be read on the wire
)

// formats are what is offered to an edge, the one liked best first.
func (e Encoding) formats() []session.Format {
	switch e {
	case Compact:
		return []session.Format{session.Compact}
	case MessagePack:
		return []session.Format{session.MessagePack}
	case JSON:
		return []session.Format{session.JSON}
	}
	return []session.Format{session.Compact, session.MessagePack, session.JSON}
}

// DefaultBuffer is Options.Buffer where none is given.
const DefaultBuffer = 4096

// Options of a Client. The zero value is good.
type Options struct {
	// Encoding of the connection; Best by default.
	Encoding Encoding

	// Buffer is how many ticks and gaps of mode every wait for a slow reader before the client stops reading the
	// socket; DefaultBuffer by default.
	Buffer int

	// FetchGaps has the client fetch what a gap of mode every names, as Client.Ticks does, before it hands on what comes
	// after it: the last 1,000 ticks of it at most. Only what cannot be had is then a Gap. Other symbols of the
	// Client wait meanwhile: milliseconds, or seconds when the edge is in trouble.
	FetchGaps bool

	// Header is sent with the handshake and with requests for ticks, e.g. for a gateway that asks for authorization.
	Header http.Header

	// TLS is the configuration for wss and https URLs.
	TLS *tls.Config

	// NetDial opens network connections, e.g. through a proxy; by default a net.Dialer does.
	NetDial func(ctx context.Context, network, address string) (net.Conn, error)
}

// SubscribeOption changes how symbols are subscribed: Every, MaxRate, After.
type SubscribeOption func(*session.Request) *code.Error

// Every asks for each tick, in order. Without it a subscription is of mode latest: the newest tick wins, and those
// between may be left out.
func Every() SubscribeOption {
	return func(r *session.Request) *code.Error {
		r.Mode = session.Every
		return nil
	}
}

// MaxRate bounds how many times a second these symbols are written to the client, 1 to 100. The newest tick always
// comes at the end. It does not go with Every.
func MaxRate(n int) SubscribeOption {
	return func(r *session.Request) *code.Error {
		if n < 1 || n > session.MaxRate { // 0 would be left out of the message
			return code.Errorf(code.BadRate, "max_rate %d: 1 to %d writes a second", n, session.MaxRate)
		}
		r.MaxRate = n
		return nil
	}
}

// After asks for the ticks of a symbol that came after p, the last one that a program has dealt with. It goes with
// Every. Without it a subscription begins at the newest tick.
func After(symbol string, p Position) SubscribeOption {
	return func(r *session.Request) *code.Error {
		if r.After == nil {
			r.After = map[subject.Symbol]Position{}
		}
		r.After[subject.Symbol(symbol)] = p
		return nil
	}
}
