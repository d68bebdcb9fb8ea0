package table

import (
	"iter"

	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

// Entry is a symbol's newest tick.
type Entry struct {
	Symbol subject.Symbol
	tick.Position
	Payload []byte // never written to once it is in the table
}

// Table holds an Entry per symbol that has a price.
type Table struct {
	entries map[subject.Symbol]*Entry
}

// New returns an empty table.
func New() *Table { return &Table{entries: map[subject.Symbol]*Entry{}} }

// Put keeps a tick and gives its entry if it comes after the one it has of that symbol; else it gives nil. The table
// keeps payload. Only a new symbol allocates.
func (t *Table) Put(h tick.Head, payload []byte) *Entry {
	e := t.entries[subject.Symbol(h.Symbol)]
	switch {
	case e == nil:
		e = &Entry{Symbol: subject.Symbol(h.Symbol)}
		t.entries[e.Symbol] = e
	case !h.Position.After(e.Position):
		return nil
	}
	e.Position, e.Payload = h.Position, payload
	return e
}

// Payload is a symbol's newest tick, nil when it has none.
func (t *Table) Payload(s subject.Symbol) []byte {
	if e := t.entries[s]; e != nil {
		return e.Payload
	}
	return nil
}

// All goes through the newest ticks in no order.
func (t *Table) All() iter.Seq[*Entry] {
	return func(yield func(*Entry) bool) {
		for _, e := range t.entries {
			if !yield(e) {
				return
			}
		}
	}
}

// Len is the number of symbols that have a price.
func (t *Table) Len() int { return len(t.entries) }
