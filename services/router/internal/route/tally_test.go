package route

import (
	"testing"

	"github.com/tickfan/tickfan/proto/tick"
)

func TestTally(t *testing.T) {
	type event struct {
		epoch, count uint64 // count > 0: a beat
		ticks        int
		again        bool
		lost         uint64
	}
	for name, events := range map[string][]event{
		"all came":            {{epoch: 1, ticks: 3}, {epoch: 1, count: 100}, {epoch: 1, ticks: 5}, {epoch: 1, count: 105}, {epoch: 1, count: 105}},
		"some did not":        {{epoch: 1, count: 100}, {epoch: 1, ticks: 5}, {epoch: 1, count: 107, lost: 2}, {epoch: 1, count: 107}},
		"none did":            {{epoch: 1, count: 100}, {epoch: 1, count: 107, lost: 7}},
		"published again":     {{epoch: 1, count: 100}, {epoch: 1, ticks: 5, again: true}, {epoch: 1, count: 105, lost: 5}},
		"a new epoch":         {{epoch: 1, count: 100}, {epoch: 2, ticks: 3}, {epoch: 2, count: 3}, {epoch: 2, ticks: 1}, {epoch: 2, count: 4}},
		"its first ticks":     {{epoch: 1, count: 100}, {epoch: 2, ticks: 3}, {epoch: 2, count: 5, lost: 2}},
		"its first beat":      {{epoch: 1, count: 100}, {epoch: 2, count: 4, lost: 4}},
		"a former leader":     {{epoch: 2, count: 10}, {epoch: 1, ticks: 4}, {epoch: 1, count: 900}, {epoch: 2, ticks: 1}, {epoch: 2, count: 11}},
		"more than counted":   {{epoch: 1, count: 10}, {epoch: 1, ticks: 9}, {epoch: 1, count: 12}, {epoch: 1, ticks: 1}, {epoch: 1, count: 13}},
		"a count that shrank": {{epoch: 1, count: 10}, {epoch: 1, count: 5}, {epoch: 1, ticks: 1}, {epoch: 1, count: 6}},
	} {
		var y tally
		for i, e := range events {
			for range e.ticks {
				y.tick(tick.Head{Position: tick.Position{Epoch: e.epoch}, Again: e.again})
			}
			if e.count > 0 {
				if lost := y.beat(tick.BeatMsg{Epoch: e.epoch, Count: e.count}); lost != e.lost {
					t.Errorf("%s, event %d: %d lost, want %d", name, i, lost, e.lost)
				}
			}
		}
	}
}
