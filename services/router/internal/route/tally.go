package route

import "github.com/tickfan/tickfan/proto/tick"

// tally compares how many ticks ingest has stamped, which its beats tell, with how many came. Both come by one channel in
// the order in which they left, so what a beat counts and did not come before it was lost on the way.
type tally struct {
	epoch uint64
	known bool   // count is that of a beat, or of the epoch's begin
	count uint64 // what the last beat told
	came  uint64 // ticks since
}

// tick takes one that came, newer than what is known or not.
func (t *tally) tick(h tick.Head) {
	if h.Again { // beats leave it out
		return
	}
	t.begin(h.Epoch)
	if h.Epoch == t.epoch {
		t.came++
	}
}

// beat gives how many ticks were lost since the one before.
func (t *tally) beat(b tick.BeatMsg) (lost uint64) {
	t.begin(b.Epoch)
	if b.Epoch < t.epoch { // of a former leader
		return 0
	}
	if grown := b.Count - t.count; t.known && b.Count >= t.count && grown > t.came {
		lost = grown - t.came
	}
	t.known, t.count, t.came = true, b.Count, 0
	return lost
}

// begin notices a new epoch. Its count is known to begin at 0, but for the first that this router hears of.
func (t *tally) begin(epoch uint64) {
	if epoch > t.epoch {
		*t = tally{epoch: epoch, known: t.epoch != 0}
	}
}
