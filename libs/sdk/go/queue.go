package tickfan

import "slices"

// queue is events in the order in which they are handed out.
type queue struct {
	entries []entry // from head on
	head    int
	held    int // ticks and gaps of mode every
	states  int // events of no symbol
}

// entry is one event. Where event is nil it is sub's newest tick at the time of taking it.
type entry struct {
	sub   *subscription
	event Event
}

// maxStates is how many states wait to be taken; the oldest is forgotten for the next.
const maxStates = 64

func (q *queue) push(e entry) {
	if e.sub == nil && q.states == maxStates {
		i := slices.IndexFunc(q.entries[q.head:], func(e entry) bool { return e.sub == nil })
		q.entries = slices.Delete(q.entries, q.head+i, q.head+i+1)
		q.states--
	}
	q.count(e, 1)
	q.entries = append(q.entries, e)
}

// pop gives nil when the queue is empty, and whether anything is left.
func (q *queue) pop() (event Event, more bool) {
	if q.head == len(q.entries) {
		return nil, false
	}
	e := q.entries[q.head]
	q.entries[q.head] = entry{}
	q.head++
	switch {
	case q.head == len(q.entries):
		q.entries, q.head = q.entries[:0], 0
	case q.head >= 1024 && q.head > len(q.entries)/2: // never empty for a long time: move down, or it grows for ever
		q.entries = slices.Delete(q.entries, 0, q.head)
		q.head = 0
	}
	q.count(e, -1)
	if e.event == nil {
		e.sub.queued = false
		e.event = e.sub.newest
	}
	return e.event, q.head < len(q.entries)
}

// remove drops the entries that match.
func (q *queue) remove(match func(entry) bool) {
	q.entries = slices.Delete(q.entries, 0, q.head)
	q.head = 0
	q.entries = slices.DeleteFunc(q.entries, func(e entry) bool {
		if !match(e) {
			return false
		}
		q.count(e, -1)
		if e.sub != nil {
			e.sub.queued = false
		}
		return true
	})
}

func (q *queue) count(e entry, by int) {
	switch {
	case e.sub == nil:
		q.states += by
	case e.event != nil:
		q.held += by
	}
}
