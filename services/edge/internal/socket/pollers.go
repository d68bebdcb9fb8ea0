package socket

import (
	"sync/atomic"
	"time"
)

// Pollers share the connections of an edge.
type Pollers struct {
	list []*Poller
	next atomic.Uint32
}

// NewPollers starts n of them.
func NewPollers(n int, now func() int64) (*Pollers, error) {
	ps := &Pollers{}
	for range n {
		p, err := NewPoller(now)
		if err != nil {
			ps.Close()
			return nil, err
		}
		ps.list = append(ps.list, p)
	}
	return ps, nil
}

// Next gives one after the other.
func (ps *Pollers) Next() *Poller { return ps.list[int(ps.next.Add(1))%len(ps.list)] }

// Hurry is Poller.Hurry for all of them.
func (ps *Pollers) Hurry(by time.Duration) {
	for _, p := range ps.list {
		p.Hurry(by)
	}
}

// Close stops them, as Poller.Close does.
func (ps *Pollers) Close() {
	for _, p := range ps.list {
		p.Close()
	}
}
