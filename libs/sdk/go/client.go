package tickfan

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/lxzan/gws"
	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/session"
)

// Client is a connection to Tickfan that is made again when it is lost. See the package's documentation for what that
// means, and for concurrency. Close it when done.
type Client struct {
	options Options
	urls    []*url.URL
	feed    *feed
	clock   clock
	backoff backoff

	ctx    context.Context // ends at Close
	cancel context.CancelFunc
	done   chan struct{} // closed when run has ended
	wake   chan struct{} // holds a token when there are calls to write

	mu     sync.Mutex
	link   *link   // nil while there is none
	calls  []*call // in the order in which they are written
	lastID int64
}

// Dial connects to an edge, e.g. "ws://localhost:8080". A URL may begin with ws, wss, http or https; its path is
// /v1/ws unless it has another. Several URLs, comma-separated, are tried one after the other: as given
// now, and in random order whenever the connection is lost, the edge that lost it last.
//
// Dial returns after the first connection. It tries again, with back-off, until ctx ends, so give ctx a deadline; its
// end after that has no meaning for the Client. A refusal that will not pass by itself (a wrong path, a 4xx answer) is
// returned at once; where an edge gave it, the error holds a *code.Error.
func Dial(ctx context.Context, urls string, options Options) (*Client, error) {
	parsed, err := parseURLs(urls)
	if err != nil {
		return nil, err
	}
	c := &Client{
		options: options,
		urls:    parsed,
		feed:    newFeed(options.Buffer),
		done:    make(chan struct{}),
		wake:    make(chan struct{}, 1),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	l, err := c.connect(ctx, 0, nil)
	if err != nil {
		c.cancel()
		return nil, err
	}
	go c.run(l)
	return c, nil
}

// Close ends the Client and waits until all of it has stopped. Events not taken are lost. It always returns nil.
func (c *Client) Close() error {
	c.feed.end(ErrClosed, true)
	c.cancel()
	<-c.done
	return nil
}

// Next waits for the next event. It gives ctx's cause when ctx has ended, ErrClosed after Close, and what ended the
// Client when an edge refused it for good (a *CloseError, or an error with a *code.Error), after all events before.
func (c *Client) Next(ctx context.Context) (Event, error) { return c.feed.next(ctx) }

// Events gives the events as Next does. The loop ends after Close, or with a last pair that holds the error.
func (c *Client) Events(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for {
			e, err := c.Next(ctx)
			if errors.Is(err, ErrClosed) || !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// RTT is how long an edge takes to answer, best of the last few pings (one every 15 s), or 0 before the first answer.
func (c *Client) RTT() time.Duration { return c.clock.best().rtt }

// Offset is by how much the edge's clock is ahead of ours, from the same ping as RTT.
func (c *Client) Offset() time.Duration { return c.clock.best().offset }

// Delay is how old a tick is by the edge's clock: from its Time, which is its publisher's, until now.
func (c *Client) Delay(t Tick) time.Duration { return time.Now().Add(c.Offset()).Sub(t.Time()) }

// ended is the error of a Client that has stopped.
func (c *Client) ended() error {
	c.feed.mu.Lock()
	defer c.feed.mu.Unlock()
	return c.feed.err
}

// run serves one connection after another until Close or an error that is final.
func (c *Client) run(l *link) {
	defer close(c.done)
	defer c.cancel()
	for {
		since := time.Now()
		err := c.serve(l)
		if c.ctx.Err() != nil {
			return
		}
		if final(err, false) {
			c.feed.end(err, false)
			return
		}
		c.backoff.lasted(time.Since(since))
		wait := c.backoff.next()
		if !l.comeBack.IsZero() {
			wait = max(0, time.Until(l.comeBack))
		}
		c.feed.state(Disconnected{Err: err, Retry: wait})
		if l, err = c.connect(c.ctx, wait, l.url); err != nil {
			c.feed.end(err, false) // after Close it is ErrClosed already
			return
		}
	}
}

// connect waits, tries each URL once, and so on until it has a connection, ctx ends or every URL refuses for good. lost
// is the URL of the connection before, nil when this is the first.
func (c *Client) connect(ctx context.Context, wait time.Duration, lost *url.URL) (*link, error) {
	first := lost == nil
	var last error
	for {
		if err := sleep(ctx, wait); err != nil {
			if last != nil {
				err = fmt.Errorf("%w; last attempt: %w", err, last)
			}
			return nil, err
		}
		var faults []error
		wait = 0
		finals := 0
		for _, u := range c.order(lost) {
			l := &link{client: c, url: u, done: make(chan struct{})}
			err := c.options.dial(ctx, u, l)
			if err == nil {
				return l, nil
			}
			if final(err, first) {
				finals++
			}
			wait = max(wait, retryAfter(err))
			faults = append(faults, fmt.Errorf("dial %s: %w", u.Redacted(), err))
		}
		last = errors.Join(faults...)
		if finals == len(c.urls) || ctx.Err() != nil {
			return nil, last
		}
		wait = max(wait, c.backoff.next())
		if !first {
			c.feed.state(Disconnected{Err: last, Retry: wait})
		}
	}
}

// order is the one in which to try the URLs. All clients of an edge that stops must not go to the same other one.
func (c *Client) order(lost *url.URL) []*url.URL {
	if lost == nil {
		return c.urls
	}
	all := slices.DeleteFunc(slices.Clone(c.urls), func(u *url.URL) bool { return u == lost })
	rand.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
	return append(all, lost)
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// serve runs one connection to its end and tells why it ended:
//
//	ReadLoop (this goroutine): edge -> receive -> feed
//	write    (another):        calls, pings -> edge
func (c *Client) serve(l *link) error {
	c.clock.reconnected()
	c.renew(l)
	c.feed.state(Connected{URL: l.url.Redacted()})
	closed := make(chan struct{})
	stop := context.AfterFunc(c.ctx, func() {
		defer close(closed)
		l.end(normalClosure, ErrClosed)
	})
	var writer sync.WaitGroup
	writer.Go(func() { c.write(l) })

	l.ws.ReadLoop()

	l.stay()
	if !stop() {
		<-closed
	}
	close(l.done)
	writer.Wait()
	c.unlink()
	return l.why()
}

const normalClosure code.Close = 1000

// write sends calls and pings until the connection ends. Its errors have ended the connection, and ReadLoop finds them.
func (c *Client) write(l *link) {
	ticker := time.NewTicker(pingEvery)
	defer ticker.Stop()
	if c.ping(l) != nil { // before anything that the answer could wait behind
		return
	}
	for {
		for _, p := range c.unsent(l) {
			if l.write(p) != nil {
				return
			}
		}
		select {
		case <-l.done:
			return
		case <-c.wake:
		case <-ticker.C:
			if c.ping(l) != nil {
				return
			}
		}
	}
}

func (c *Client) ping(l *link) error {
	c.mu.Lock()
	c.lastID++
	id := c.lastID
	c.mu.Unlock()
	return l.ping(id)
}

// receive takes one message of the edge. An error means that it breaks the protocol.
func (c *Client) receive(l *link, op gws.Opcode, p []byte) error {
	if (op == gws.OpcodeText) != (l.format == session.JSON) {
		return fmt.Errorf("read from edge: a frame of type %d on %s", op, l.format)
	}
	switch l.format {
	case session.Compact:
		if session.IsTicks(p) {
			return c.receiveTicks(l, p)
		}
	case session.MessagePack:
		var t Tick
		if symbol, ok := readTick(p, &t); ok {
			c.feed.tick(symbol, &t)
			return nil
		}
	}
	m, err := session.DecodeMessage(l.format, p)
	if err != nil {
		return fmt.Errorf("read from edge: %w", err)
	}
	if l.format == session.Compact {
		if err := l.numbers(&m); err != nil {
			return fmt.Errorf("read from edge: %w", err)
		}
	}
	switch m.Op {
	case session.OpTick:
		t := Tick{Position: Position{Epoch: m.Epoch, Seq: m.Seq}, Quote: m.Quote()}
		if err = checkTick(&t); err == nil {
			c.feed.tick([]byte(m.Symbol), &t)
		}
	case session.OpGap:
		g := Gap{Symbol: string(m.Symbol), Epoch: m.Epoch, From: m.From, To: m.To}
		if err = checkGap(g); err == nil {
			c.fill(&m)
			c.feed.gap(g)
		}
	case session.OpSubscribed, session.OpUnsubscribed:
		c.accept(&m)
	case session.OpError:
		err = c.refuse(l, &m)
	case session.OpPong:
		if m.ID != nil {
			if sent, ok := l.pong(*m.ID); ok {
				c.clock.add(sent, time.Now(), time.UnixMicro(m.TS))
			}
		}
	case session.OpStale:
		c.feed.state(Stale{Age: time.Duration(m.AgeMS) * time.Millisecond})
	case session.OpFresh:
		c.feed.state(Fresh{})
	case session.OpReconnect:
		after := time.Duration(max(0, min(m.AfterMS, longestRetry.Milliseconds()))) * time.Millisecond
		l.leave(after)
	}
	if err != nil {
		return fmt.Errorf("read from edge: %w", err)
	}
	return nil
}

// receiveTicks takes a message of ticks in Compact.
func (c *Client) receiveTicks(l *link, p []byte) error {
	for len(p) > 0 {
		read, rest, err := l.decoder.Next(p)
		if err != nil {
			return fmt.Errorf("read from edge: %w", err)
		}
		c.feed.tickOf(string(read.Symbol), &Tick{Position: read.Position, Quote: read.Quote})
		p = rest
	}
	return nil
}
