package history

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

// replies is what a Reader published.
type replies struct {
	t  *testing.T
	mu sync.Mutex
	by map[string][]tick.NewestAnswer
}

func (r *replies) publish(subj string, data []byte) error {
	if len(data) > tick.MaxPayload {
		r.t.Errorf("a message of %d bytes, more than %d", len(data), tick.MaxPayload)
	}
	a, err := tick.DecodeNewestAnswer(append([]byte(nil), data...))
	if err != nil {
		r.t.Error(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if had := r.by[subj]; len(had) > 0 && had[len(had)-1].Last {
		r.t.Errorf("%s is answered after the last message", subj)
	}
	r.by[subj] = append(r.by[subj], a)
	return nil
}

// all gives an answer once it is whole.
func (r *replies) all(subj string) (payloads [][]byte, lack tick.Lack, messages int) {
	r.t.Helper()
	natstest.Eventually(r.t, within, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		n := len(r.by[subj])
		return n > 0 && r.by[subj][n-1].Last
	}, "%s is answered", subj)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.by[subj] {
		payloads, lack = append(payloads, a.Ticks...), a.Lack
	}
	return payloads, lack, len(r.by[subj])
}

func newReader(t *testing.T) (*Reader, *replies) {
	r := &replies{t: t, by: map[string][]tick.NewestAnswer{}}
	return New(slog.New(slog.DiscardHandler), r.publish), r
}

func TestReaderAnswers(t *testing.T) {
	s := newTicks(t, 1000)
	s.add(btc, 5, 1, 50)
	s.settle()
	r, replies := newReader(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); r.Run(ctx, s.js) }()
	g := tick.Range{Symbol: btc, Epoch: 5, From: 10, To: 60}
	r.Ask(g, "a")
	got, lack, _ := replies.all("a")
	if text := runs(t, g, got); text != "10-50" || lack != tick.Ahead {
		t.Errorf("%q, lack %d", text, lack)
	}
	cancel()
	<-ended
	if st := r.Stats(); st.Asked.Load() != 1 || st.Refused.Load() != 0 || st.Ticks.Load() != 41 {
		t.Errorf("%d asked, %d refused, %d ticks", st.Asked.Load(), st.Refused.Load(), st.Ticks.Load())
	}
}

// While nothing is read, what is asked beyond the backlog is refused at once, and the rest when the router stops.
func TestReaderRefuses(t *testing.T) {
	r, replies := newReader(t)
	g := tick.Range{Symbol: btc, Epoch: 5, From: 1, To: 1}
	for i := range backlog {
		r.Ask(g, fmt.Sprint(i))
	}
	if len(replies.by) > 0 {
		t.Errorf("%d are refused for which there is room", len(replies.by))
	}
	r.Ask(g, "too many")
	if len(replies.by) != 1 {
		t.Errorf("%d are refused, want one", len(replies.by))
	}
	r.RefuseRest()
	for i := range backlog + 1 {
		reply := fmt.Sprint(i)
		if i == backlog {
			reply = "too many"
		}
		if got, lack, n := replies.all(reply); len(got) > 0 || lack != tick.Refused || n != 1 {
			t.Errorf("%s: %d ticks, lack %d in %d messages", reply, len(got), lack, n)
		}
	}
	if n := r.Stats().Refused.Load(); n != backlog+1 {
		t.Errorf("%d refused", n)
	}
}

// Who has waited too long has given up; reading for him would only keep others waiting.
func TestReaderIsNotLate(t *testing.T) {
	r, replies := newReader(t)
	q := question{Range: tick.Range{Symbol: btc, Epoch: 5, From: 1, To: 1}, reply: "a", came: time.Now().Add(-2 * patience)}
	r.serve(t.Context(), nil, q) // without a JetStream to read from
	if _, lack, _ := replies.all("a"); lack != tick.Refused {
		t.Errorf("lack %d", lack)
	}
}

func TestReaderSplitsAnswers(t *testing.T) {
	r, replies := newReader(t)
	sym := subject.Symbol(strings.Repeat("S", 32))
	var payloads [][]byte
	g := tick.Range{Symbol: sym, Epoch: 5, From: 1, To: 1000}
	for seq := g.From; seq <= g.To; seq++ {
		tk := tick.Tick{Symbol: sym, Position: tick.Position{Epoch: 5, Seq: seq}, Prev: tick.Position{Epoch: 1 << 52, Seq: 1 << 52}, At: 1 << 52}
		tk.TS = 1 << 52
		for i, d := range tk.Fields() {
			*d = tick.NewDecimal(123456789012345678+uint64(i), 12)
		}
		payloads = append(payloads, tk.Append(nil))
	}
	r.answer(question{Range: g, reply: "a"}, payloads, tick.Refused)
	got, lack, n := replies.all("a")
	if text := runs(t, g, got); text != "1-1000" || lack != tick.Refused || n < 2 {
		t.Errorf("%q, lack %d in %d messages", text, lack, n)
	}
	for i, a := range replies.by["a"][:n-1] {
		if a.Last || a.Lack != tick.Nothing {
			t.Errorf("message %d: %+v", i, a)
		}
	}
}
