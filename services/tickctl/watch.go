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
	Lines   bool     `name:"lines" help:"A line for each update also on a terminal, in place of a table that is drawn anew."`
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
	} else if screen := newScreen(s.Out); screen != nil && !w.Lines {
		show = newLive(screen, client.Delay, w.Symbols)
	}
	ack, err := client.Subscribe(ctx, w.Symbols, w.options()...)
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	if err := show.subscribed(ack); err != nil {
		return err
	}
	redraw := time.NewTicker(redrawEvery)
	defer redraw.Stop()
	events, stop := feed(ctx, client)
	defer stop()
	ticks := 0
	for {
		select {
		case <-ctx.Done():
			return errors.Join(show.redraw(), context.Cause(ctx))
		case <-redraw.C:
			if err := show.redraw(); err != nil {
				return err
			}
		case e := <-events:
			if e.err != nil {
				return errors.Join(show.redraw(), e.err)
			}
			if err := show.event(e.event); err != nil {
				return err
			}
			if _, ok := e.event.(tickfan.Tick); !ok {
				continue
			}
			if ticks++; ticks == w.Count {
				return show.redraw()
			}
		}
	}
}

// fed is what a client handed out.
type fed struct {
	event tickfan.Event
	err   error // the last one
}

// feed hands out a client's events beside whatever else happens. Stop ends it.
func feed(ctx context.Context, client *tickfan.Client) (events <-chan fed, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	out, ended := make(chan fed), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			event, err := client.Next(ctx)
			select {
			case out <- fed{event, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return out, func() { cancel(); <-ended }
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
