package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	tickfan "github.com/tickfan/tickfan/libs/sdk/go"
)

// What is published ten times a second comes right by itself: the next price does. So there are symbols that get a price
// at certain moments of a blow and no other, and clients that come in the middle of one.

const (
	quietSymbols = 8
	quietOfEach  = 2
	newcomers    = 4 // that stay
)

// newcomer is a client that came during a blow, for a symbol that nobody had wanted before.
type newcomer struct {
	*viewer
	wants *published
	far   bool
	close func()
}

func newQuiet(name string) *published { return &published{symbol: name, answered: time.Now()} }

// whisper publishes a symbol's next price, once, and does not wait.
func (w *world) whisper(k *published) {
	w.whispers.Add(1)
	w.publisher.running.Go(func() {
		defer w.whispers.Add(-1)
		w.publisher.one(k)
	})
}

// next is the quiet symbol whose turn it is.
func (w *world) next() *published {
	w.turn++
	return w.quiet[w.turn%len(w.quiet)]
}

// disturbedBy is a blow during which prices are published and a client comes.
func disturbedBy(deal func(*world) func()) func(*world) func() {
	return func(w *world) func() {
		w.await("one ingest stamps, and no other believes that it does", func() bool { return w.leaders() == 1 })
		for _, n := range w.came { // all is well: these are routed
			w.whisper(n.wants)
		}
		wanted := w.unheardOf()
		w.whisper(w.next())
		mend := deal(w)
		w.whisper(w.next())
		w.come(wanted, w.doors)
		w.between(0, time.Second)
		w.whisper(w.next())
		return func() {
			w.whisper(w.next())
			w.whisper(wanted)
			mend()
			w.whisper(w.next())
		}
	}
}

// unheardOf publishes the first price of a symbol.
func (w *world) unheardOf() *published {
	w.named++
	k := newQuiet(fmt.Sprintf("LATE%d-USD", w.named))
	w.publisher.one(k)
	return k
}

// come has a client come by one of the doors, after others that came before.
func (w *world) come(wanted *published, doors []door) *newcomer {
	for len(w.came) >= newcomers {
		w.came[0].close()
		w.came = slices.Delete(w.came, 0, 1)
	}
	symbols := []string{wanted.symbol, w.quiet[w.named%len(w.quiet)].symbol}
	v := &viewer{name: "newcomer for " + wanted.symbol, says: w.violated, every: w.named%2 == 0}
	v.forgetAll(symbols)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	urls := urls(doors, w.named)
	go func() {
		defer close(ended)
		if err := v.enter(ctx, urls, symbols); err != nil && ctx.Err() == nil {
			w.violated("%s: %v", v.name, err)
		}
	}()
	n := &newcomer{viewer: v, wants: wanted, far: &doors[0] == &w.farDoors[0], close: func() { cancel(); <-ended }}
	w.came = append(w.came, n)
	return n
}

// enter is a client from its connection to its end, with ctx.
func (v *viewer) enter(ctx context.Context, urls string, symbols []string) error {
	dial, cancel := context.WithTimeout(ctx, 2*well)
	defer cancel()
	c, err := tickfan.Dial(dial, urls, tickfan.Options{})
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	v.Client = c
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		v.run()
	}()
	defer func() {
		_ = c.Close() // always nil
		<-ended
	}()
	var options []tickfan.SubscribeOption
	if v.every {
		options = append(options, tickfan.Every())
	}
	if _, err := c.Subscribe(dial, symbols, options...); err != nil && !errors.Is(err, tickfan.ErrClosed) {
		return fmt.Errorf("subscribe: %w", err)
	}
	<-ctx.Done()
	return nil
}
