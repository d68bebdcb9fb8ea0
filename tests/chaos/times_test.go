package chaos

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// times is how long something took, again and again.
type times struct {
	mu sync.Mutex
	h  *hdrhistogram.Histogram // us; nil: nothing since it was taken
}

func newTimes() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, (10 * time.Minute).Microseconds(), 3)
}

// add does nothing where nobody takes them.
func (t *times) add(d time.Duration) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.h == nil {
		t.h = newTimes()
	}
	_ = t.h.RecordValue(max(1, d.Microseconds())) // longer than a histogram reaches: such a run has failed long before
}

// take gives what was added since the last time.
func (t *times) take() *hdrhistogram.Histogram {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.h
	t.h = nil
	if h == nil {
		h = newTimes()
	}
	return h
}

// seen is what clients noticed in a span of time.
type seen struct {
	age   *hdrhistogram.Histogram // of a tick that reached a viewer, from when it was published
	back  *hdrhistogram.Histogram // from the loss of a connection to the next
	first *hdrhistogram.Histogram // from subscribing to what nobody else wants to a tick that was published after it
	lost  int                     // connections
	gaps  int                     // told
}

// see gives what was noticed since the last time.
func (w *world) see() seen {
	s := seen{age: w.ages.take(), back: w.backs.take(), first: w.firsts.take()}
	for _, v := range w.viewers {
		v.mu.Lock()
		s.lost += v.lost
		s.gaps += v.gaps
		v.lost, v.gaps = 0, 0
		v.mu.Unlock()
	}
	return s
}

func (s *seen) add(o seen) {
	if s.age == nil {
		*s = seen{age: newTimes(), back: newTimes(), first: newTimes()}
	}
	s.age.Merge(o.age)
	s.back.Merge(o.back)
	s.first.Merge(o.first)
	s.lost += o.lost
	s.gaps += o.gaps
}
