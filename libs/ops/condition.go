package ops

import (
	"strings"
	"sync"
	"time"
)

// Grace is how long what a service had, and lost, may be away before the service is not ready. A cluster replaces a dead
// server meanwhile (a JetStream leader's death was measured to take up to 6.8 s): without it all edges at once would leave
// their load balancer over something that passes by itself, and nobody could connect at all. Past it others do better.
const Grace = 10 * time.Second

// Condition is one thing that a service waits for before it is ready, such as its NATS
// connection. It may be set from any goroutine, and as often as it changes.
type Condition struct {
	name string

	mu     sync.Mutex
	reason error     // nil when met
	how    string    // when met; may be ""
	lost   time.Time // since when reason stands for something that was there before; else zero
}

// Set says that the condition is met (nil) or why it is not. On a nil Condition it does
// nothing, so that who takes a Condition need not ask for one.
func (c *Condition) Set(reason error) { c.set(reason, "") }

// Met says that the condition is met, and how, where there is more than one way: /readyz tells it.
func (c *Condition) Met(how string) { c.set(nil, how) }

func (c *Condition) set(reason error, how string) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reason, c.how, c.lost = reason, how, time.Time{}
}

// Lost says why a condition is met no more that may soon be again by itself. It counts as met for [Grace] from the first
// time on, though /readyz tells it at once. Of a condition that was not met it is Set.
func (c *Condition) Lost(reason error) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reason == nil {
		c.lost = time.Now()
	}
	c.reason = reason
}

// Err is why the condition is not met, nil when it is. A nil Condition is met.
func (c *Condition) Err() error {
	if c == nil {
		return nil
	}
	if s := c.state(); !s.forgiven() {
		return s.reason
	}
	return nil
}

// state is a condition at a moment.
type state struct {
	how    string        // when met
	reason error         // when not
	away   time.Duration // since it was lost; 0: it was never there
}

// forgiven tells that the service may be ready all the same.
func (s state) forgiven() bool { return s.reason == nil || s.away > 0 && s.away < Grace }

func (c *Condition) state() (s state) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reason == nil {
		return state{how: c.how}
	}
	s.reason = c.reason
	if !c.lost.IsZero() {
		s.away = max(time.Since(c.lost), 1)
	}
	return s
}

// service is the service's name, with which a condition's begins.
func (c *Condition) service() string {
	name, _, _ := strings.Cut(c.name, ".")
	return name
}
