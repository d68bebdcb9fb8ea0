package tickfan

import (
	"context"
	"slices"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
)

// call is a request on its way to an answer.
type call struct {
	req     session.Request
	renewal bool          // made by us after a reconnect: nobody waits
	sent    bool          // on the present connection
	done    chan struct{} // closed when answered
	ack     Ack
	err     error
}

// Ack is the answer to Subscribe.
type Ack struct {
	Symbols []string // subscribed, without doubles
	NoPrice []string // of these, without a price yet; their first tick comes when there is one
}

// Subscribe asks for symbols, which are all subscribed or, on an error, none. The first tick of each is its newest
// price, unless After says where to go on. A symbol that is subscribed already takes the new mode and rate; a price that
// was handed out is not handed out again.
//
// It returns when the edge has answered; without a connection it waits for the next. An edge's refusal is a
// *code.Error (bad_symbol, too_many_symbols, bad_mode …), a closed Client's error is ErrClosed or what ended it. When
// ctx ends first, the request may still take effect.
func (c *Client) Subscribe(ctx context.Context, symbols []string, options ...SubscribeOption) (Ack, error) {
	req := session.Request{Op: session.OpSubscribe, Symbols: names(symbols)}
	for _, option := range options {
		if err := option(&req); err != nil {
			return Ack{}, err
		}
	}
	return c.ask(ctx, req)
}

// Unsubscribe ends the subscriptions of symbols. After it returned without an error none of their ticks is handed out.
// A symbol that is not subscribed is none. Errors are those of Subscribe.
func (c *Client) Unsubscribe(ctx context.Context, symbols ...string) error {
	_, err := c.ask(ctx, session.Request{Op: session.OpUnsubscribe, Symbols: names(symbols)})
	return err
}

func names(symbols []string) []subject.Symbol {
	s := make([]subject.Symbol, len(symbols))
	for i, symbol := range symbols {
		s[i] = subject.Symbol(symbol)
	}
	return s
}

// ask sends a request and waits for its answer.
func (c *Client) ask(ctx context.Context, req session.Request) (Ack, error) {
	// Sent, it would end the connection with 1009. The edge that it goes to may speak any of the formats.
	n := 0
	for _, f := range c.options.Encoding.formats() {
		n = max(n, len(session.AppendRequest(f, nil, &req)))
	}
	if n > session.MaxMessage-idBytes {
		return Ack{}, code.Errorf(code.TooLarge, "%s of %d symbols has %d bytes: at most %d; %d symbols a connection",
			req.Op, len(req.Symbols), n, session.MaxMessage-idBytes, session.MaxSymbols)
	}
	cl := &call{req: req, done: make(chan struct{})}
	c.feed.lift(+1)
	defer c.feed.lift(-1)

	c.mu.Lock()
	if req.Op == session.OpUnsubscribe && c.link == nil {
		c.mu.Unlock()
		c.feed.unsubscribed(req.Symbols)
		return Ack{}, c.ended()
	}
	c.addLocked(cl)
	c.mu.Unlock()
	signal(c.wake)

	select {
	case <-cl.done:
		return cl.ack, cl.err
	case <-ctx.Done():
		c.mu.Lock()
		c.calls = slices.DeleteFunc(c.calls, func(other *call) bool { return other == cl && !cl.sent })
		c.mu.Unlock()
		return Ack{}, context.Cause(ctx)
	case <-c.done:
		select {
		case <-cl.done:
			return cl.ack, cl.err
		default:
			return Ack{}, c.ended()
		}
	}
}

// idBytes is room for the id that a request gets when it is sent.
const idBytes = 32

func (c *Client) addLocked(cl *call) {
	c.lastID++
	id := c.lastID
	cl.req.ID = &id
	c.calls = append(c.calls, cl)
}

// renew makes the calls with which a new connection begins: all subscriptions, then what was not answered yet.
func (c *Client) renew(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.calls
	c.calls = nil
	for _, req := range c.feed.renewals() {
		c.addLocked(&call{req: *req, renewal: true, done: make(chan struct{})})
	}
	c.calls = append(c.calls, old...)
	c.link = l
}

// unlink takes note that there is no connection. Unsubscribing is done by that, and renewals are made anew.
func (c *Client) unlink() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link = nil
	c.calls = slices.DeleteFunc(c.calls, func(cl *call) bool {
		if cl.req.Op == session.OpUnsubscribe {
			c.feed.unsubscribed(cl.req.Symbols)
			close(cl.done)
		}
		cl.sent = false
		return cl.renewal || cl.req.Op == session.OpUnsubscribe
	})
}

// unsent gives the calls that are still to be written, in order, encoded.
func (c *Client) unsent(l *link) [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all [][]byte
	for _, cl := range c.calls {
		if !cl.sent {
			cl.sent = true
			all = append(all, session.AppendRequest(l.format, nil, &cl.req))
		}
	}
	return all
}

// answered takes the edge's answer to a call off the list of calls, or nil.
func (c *Client) answered(id *int64) *call {
	if id == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.calls, func(cl *call) bool { return cl.sent && *cl.req.ID == *id })
	if i < 0 {
		return nil
	}
	cl := c.calls[i]
	c.calls = slices.Delete(c.calls, i, i+1)
	return cl
}

// accept takes a "subscribed" or "unsubscribed".
func (c *Client) accept(m *session.Message) {
	cl := c.answered(m.ID)
	if cl == nil {
		return
	}
	if cl.req.Op == session.OpUnsubscribe {
		c.feed.unsubscribed(cl.req.Symbols)
	} else {
		c.feed.subscribed(&cl.req, m.NoPrice)
		cl.ack = Ack{Symbols: texts(m.Symbols), NoPrice: texts(m.NoPrice)}
	}
	close(cl.done)
}

// refuse takes an "error". A refused renewal whose reason may pass ends the connection, to be tried on another.
func (c *Client) refuse(l *link, m *session.Message) error {
	err := &code.Error{Code: m.Code, Message: m.Message}
	cl := c.answered(m.ID)
	switch {
	case cl == nil:
		l.fault = err
	case !cl.renewal:
		cl.err = err
		close(cl.done)
	case m.Code == code.Unavailable, m.Code == code.Internal:
		return err
	default:
		c.feed.unsubscribed(cl.req.Symbols)
		c.feed.state(Unsubscribed{Symbols: texts(cl.req.Symbols), Err: err})
	}
	return nil
}

func texts(symbols []subject.Symbol) []string {
	if len(symbols) == 0 {
		return nil
	}
	s := make([]string, len(symbols))
	for i, symbol := range symbols {
		s[i] = string(symbol)
	}
	return s
}
