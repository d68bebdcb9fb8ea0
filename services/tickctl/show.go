package tickctl

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	tickfan "github.com/tickfan/tickfan/libs/sdk/go"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

// shower writes what watch sees.
type shower interface {
	subscribed(tickfan.Ack) error
	event(tickfan.Event) error
	redraw() error // what is shown in place
}

// table is for people:
//
//	ARRIVED       SYMBOL            PRICE            BID            ASK         SEQ     DELAY
//	14:03:21.482  BTC-USD        64123.51       64123.50       64123.52        1042      12ms
//	14:03:22.001  BTC-USD  gap: ticks 1043 to 1045 of epoch 1763769600 are missing
type table struct {
	out   io.Writer
	delay func(tickfan.Tick) time.Duration
	now   func() time.Time // of this computer: all lines are by one clock, and a tick's own time is DELAY before
	width int              // of a symbol
}

func newTable(out io.Writer, client *tickfan.Client, symbols []string) *table {
	t := &table{out: out, delay: client.Delay, now: time.Now, width: len("SYMBOL")}
	for _, s := range symbols {
		t.width = max(t.width, len(s))
	}
	return t
}

func (*table) redraw() error { return nil }

const clockForm = "15:04:05.000"

func (t *table) subscribed(ack tickfan.Ack) error {
	err := t.row("ARRIVED", "SYMBOL", "PRICE", "BID", "ASK", "SEQ", "DELAY")
	if err == nil && len(ack.NoPrice) > 0 {
		err = t.note("", "no price yet: "+strings.Join(ack.NoPrice, " "))
	}
	return err
}

func (t *table) event(event tickfan.Event) error {
	switch e := event.(type) {
	case tickfan.Tick:
		return t.row(t.now().Format(clockForm), e.Symbol, e.Price.String(), e.Bid.String(), e.Ask.String(),
			fmt.Sprint(e.Seq), short(t.delay(e)))
	case tickfan.Gap:
		return t.note(e.Symbol, told(event))
	}
	return t.note("", told(event))
}

func (t *table) row(at, symbol, price, bid, ask, seq, delay string) error {
	_, err := fmt.Fprintf(t.out, "%-12s  %-*s  %14s %14s %14s %11s %9s\n", at, t.width, symbol, price,
		cmp.Or(bid, "-"), cmp.Or(ask, "-"), seq, delay)
	return err
}

func (t *table) note(symbol, text string) error {
	if symbol != "" {
		text = fmt.Sprintf("%-*s  %s", t.width, symbol, text)
	}
	_, err := fmt.Fprintf(t.out, "%s  %s\n", t.now().Format(clockForm), text)
	return err
}

// short gives a duration with as many digits as help.
func short(d time.Duration) string {
	switch abs := d.Abs(); {
	case abs < 10*time.Millisecond:
		d = d.Round(100 * time.Microsecond)
	case abs < time.Second:
		d = d.Round(time.Millisecond)
	case abs < time.Minute:
		d = d.Round(100 * time.Millisecond)
	default:
		d = d.Round(time.Second)
	}
	return d.String()
}

// lines is for programs: JSON in the words of the client protocol. What that has no word for is connected and
// disconnected.
type lines struct{ out io.Writer }

func (l *lines) subscribed(ack tickfan.Ack) error {
	return l.message(session.Message{Op: session.OpSubscribed, Symbols: symbols(ack.Symbols), NoPrice: symbols(ack.NoPrice)})
}

func (*lines) redraw() error { return nil }

func (l *lines) event(event tickfan.Event) error {
	switch e := event.(type) {
	case tickfan.Tick:
		t := tick.Tick{Symbol: subject.Symbol(e.Symbol), Position: e.Position, Quote: e.Quote}
		return l.line(session.AppendTick(session.JSON, nil, &t))
	case tickfan.Gap:
		return l.message(session.Message{Op: session.OpGap, Symbol: subject.Symbol(e.Symbol), Epoch: e.Epoch, From: e.From, To: e.To})
	case tickfan.Stale:
		return l.message(session.Message{Op: session.OpStale, AgeMS: e.Age.Milliseconds()})
	case tickfan.Fresh:
		return l.message(session.Message{Op: session.OpFresh})
	case tickfan.Unsubscribed:
		return l.message(session.Message{Op: session.OpUnsubscribed, Symbols: symbols(e.Symbols), Code: e.Err.Code, Message: e.Err.Message})
	case tickfan.Connected:
		return l.other(struct {
			Op  string `json:"op"`
			URL string `json:"url"`
		}{"connected", e.URL})
	case tickfan.Disconnected:
		return l.other(struct {
			Op      string `json:"op"`
			Message string `json:"message"`
			RetryMS int64  `json:"retry_ms"`
		}{"disconnected", e.Err.Error(), e.Retry.Milliseconds()})
	}
	return nil
}

func (l *lines) message(m session.Message) error { return l.line(m.Append(session.JSON, nil)) }

func (l *lines) other(v any) error {
	p, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode line: %w", err)
	}
	return l.line(p)
}

func (l *lines) line(p []byte) error {
	_, err := l.out.Write(append(p, '\n'))
	return err
}

func symbols(names []string) []subject.Symbol {
	var s []subject.Symbol
	for _, name := range names {
		s = append(s, subject.Symbol(name))
	}
	return s
}
