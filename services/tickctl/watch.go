package tickctl

import (
	"context"
	"errors"
	"fmt"
	"time"

	tickfan "github.com/tickfan/tickfan/libs/sdk/go"
)

type watch struct {
	Symbols []string `arg:"" name:"symbol" help:"Symbols, e.g. BTC-USD ETH-USD."`
	Edge    string   `name:"edge" default:"http://localhost:8080" placeholder:"URL" help:"Edges to connect to, comma-separated; tried in turn. Default: http://localhost:8080."`
	Every   bool     `name:"every" help:"Every tick in order, and what is missing; without it the newest wins."`
	MaxRate int      `name:"max-rate" placeholder:"N" help:"At most so many writes a second, 1 to 100; not with --every."`
	JSON    bool     `name:"json" help:"Lines of JSON, in the words of the client protocol."`
	Count   int      `name:"count" short:"n" placeholder:"N" help:"End after so many ticks."`
}

// dialTimeout is how long an edge may take to be there. After that the connection is kept for as long as it takes.
const dialTimeout = 3 * time.Second

// Run shows events until ctx ends, which is no error, or an edge refuses for good.
func (w *watch) Run(ctx context.Context, s Streams) error {
	err := w.run(ctx, s)
	if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		return nil
	}
	return err
}

func (w *watch) run(ctx context.Context, s Streams) error {
	client, err := w.dial(ctx)
	if err != nil {
		return err
	}
	defer client.Close()

	var show shower = newTable(s.Out, client, w.Symbols)
	if w.JSON {
		show = &lines{out: s.Out}
	}
	ack, err := client.Subscribe(ctx, w.Symbols, w.options()...)
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	if err := show.subscribed(ack); err != nil {
		return err
	}
	ticks := 0
	for event, err := range client.Events(ctx) {
		if err != nil {
			return err
		}
		if err := show.event(event); err != nil {
			return err
		}
		if _, ok := event.(tickfan.Tick); ok {
			if ticks++; ticks == w.Count {
				return nil
			}
		}
	}
	return nil
}

// errNoEdge is why dialing ended.
var errNoEdge = errors.New("no edge answered within " + dialTimeout.String() + "; is edge or dev running there?")

func (w *watch) dial(ctx context.Context) (*tickfan.Client, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, dialTimeout, errNoEdge)
	defer cancel()
	return tickfan.Dial(ctx, w.Edge, tickfan.Options{})
}

func (w *watch) options() []tickfan.SubscribeOption {
	var options []tickfan.SubscribeOption
	if w.Every {
		options = append(options, tickfan.Every())
	}
	if w.MaxRate != 0 {
		options = append(options, tickfan.MaxRate(w.MaxRate))
	}
	return options
}
