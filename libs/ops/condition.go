package ops

import (
	"strings"
	"sync"
)

// Condition is one thing that a service waits for before it is ready, such as its NATS
// connection. It may be set from any goroutine, and as often as it changes.
type Condition struct {
	name string

	mu     sync.Mutex
	reason error  // nil when met
	how    string // when met; may be ""
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
	c.reason, c.how = reason, how
}

// Err is why the condition is not met, nil when it is. A nil Condition is met.
func (c *Condition) Err() error {
	if c == nil {
		return nil
	}
	reason, _ := c.state()
	return reason
}

func (c *Condition) state() (reason error, how string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reason, c.how
}

// service is the service's name, with which a condition's begins.
func (c *Condition) service() string {
	name, _, _ := strings.Cut(c.name, ".")
	return name
}
