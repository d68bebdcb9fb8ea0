package coinbase

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/lxzan/gws"
)

const (
	dialTimeout  = 5 * time.Second
	writeTimeout = 5 * time.Second

	// answerTimeout is how long an answer to a subscribe call is waited for. The exchange closes a connection that has
	// not subscribed within 5 s.
	answerTimeout = 10 * time.Second

	// silence is how long nothing may come once heartbeats, one a second and product, are subscribed. Where they are
	// not, a quiet market is no fault.
	silence        = 6 * time.Second
	silenceNoBeats = time.Minute
	maxFrame       = 1 << 20
	readBuffer     = 64 << 10 // so that a burst waits here and not in the exchange, which cuts off slow readers
	closeNormal    = 1000
	pendingAnswers = 16
)

// conn is one connection.
type conn struct {
	feed    *Feed
	id      uint64
	net     net.Conn
	ws      *gws.Conn
	quiet   time.Duration // how long nothing may come; the reading goroutine's
	answers chan *frame   // acks and errors
	ended   chan struct{} // reading has ended
	err     error         // why, once ended
}

// connection connects, subscribes and reads until the connection ends. The error is why.
func (f *Feed) connection(ctx context.Context) error {
	nc, err := dial(ctx, f.o.URL)
	if err != nil {
		return err
	}
	defer nc.Close()
	f.conns++
	c := &conn{feed: f, id: f.conns, net: nc, quiet: answerTimeout,
		answers: make(chan *frame, pendingAnswers), ended: make(chan struct{})}
	if err := c.handshake(ctx); err != nil {
		return err
	}
	f.o.Stats.Connects.Add(1)
	go func() {
		defer close(c.ended)
		c.ws.ReadLoop()
	}()
	for err = c.subscribe(ctx); err == nil; err = c.subscribeAgain(ctx) {
		if !c.wait(ctx, refusedFor) {
			break
		}
	}
	c.close()
	<-c.ended
	return cmp.Or(err, c.err)
}

// dial opens TCP, and TLS for wss. It is not left to gws, whose dialling knows no context and whose handshake leaks a
// goroutine when TLS is not answered.
func dial(ctx context.Context, rawURL string) (net.Conn, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("read URL: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	port := map[string]string{"ws": "80", "wss": "443"}[u.Scheme]
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), port)))
	if err != nil {
		return nil, fmt.Errorf("dial exchange: %w", err)
	}
	if u.Scheme != "wss" {
		return nc, nil
	}
	tc := tls.Client(nc, &tls.Config{ServerName: u.Hostname()})
	if err := tc.HandshakeContext(ctx); err != nil {
		_ = nc.Close()
		return nil, fmt.Errorf("dial exchange: %w", err)
	}
	return tc, nil
}

// handshake makes it a WebSocket. Compression is not asked for: two busy products are 6 KB a second.
func (c *conn) handshake(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { _ = c.net.Close() })()
	ws, resp, err := gws.NewClientFromConn(c, &gws.ClientOption{
		Addr:               c.feed.o.URL,
		HandshakeTimeout:   dialTimeout,
		ReadMaxPayloadSize: maxFrame,
		ReadBufferSize:     readBuffer,
		CheckUtf8Enabled:   true,
	}, c.net)
	if err != nil {
		if resp != nil {
			return fmt.Errorf("shake hands with exchange: status %.40s: %w", resp.Status, err)
		}
		return fmt.Errorf("shake hands with exchange: %w", err)
	}
	c.ws = ws
	return c.net.SetReadDeadline(time.Now().Add(c.quiet))
}

// wait waits, and returns false early when ctx or the reading ends.
func (c *conn) wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-c.ended:
	case <-t.C:
		return true
	}
	return false
}

// close says goodbye and ends the connection, which ends the reading.
func (c *conn) close() {
	_ = c.net.SetWriteDeadline(time.Now().Add(writeTimeout / 5))
	_ = c.ws.WriteClose(closeNormal, nil) // also closes the net.Conn; fails if it is closed already
	_ = c.net.Close()
}

func (c *conn) write(p []byte) error {
	if err := c.net.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	return c.ws.WriteMessage(gws.OpcodeText, p)
}

// The methods below are gws's and run in the reading goroutine.

func (c *conn) OnOpen(*gws.Conn) {}

func (c *conn) OnClose(_ *gws.Conn, err error) {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		err = fmt.Errorf("nothing heard for %s", c.quiet)
	}
	c.err = fmt.Errorf("read from exchange: %w", err)
}

func (c *conn) OnPing(ws *gws.Conn, payload []byte) {
	_ = c.net.SetWriteDeadline(time.Now().Add(writeTimeout))
	_ = ws.WritePong(payload) // a failure ends the reading
}

func (c *conn) OnPong(*gws.Conn, []byte) {}

func (c *conn) OnMessage(_ *gws.Conn, m *gws.Message) {
	defer m.Close()
	if answer := c.feed.frame(c.id, m.Bytes()); answer != nil {
		if answer.Type == typeSubscriptions {
			c.quiet = silenceNoBeats
			if len(answer.products(typeHeartbeat)) > 0 {
				c.quiet = c.feed.silence
			}
		}
		select {
		case c.answers <- answer:
		default: // nobody waits; it is logged and counted
		}
	}
	_ = c.net.SetReadDeadline(time.Now().Add(c.quiet)) // a failure ends the reading
}
