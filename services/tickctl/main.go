package tickctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	kongcompletion "github.com/jotaen/kong-completion"

	"github.com/tickfan/tickfan/libs/conf"
)

// The exit codes.
const (
	exitDone  = 0
	exitFault = 1 // refused, unreachable, not decodable
	exitUsage = 2 // arguments that make no sense; nothing was done
)

// Streams are what a command reads and writes.
type Streams struct {
	In  io.Reader
	Out io.Writer // results only
	Err io.Writer // what went wrong
}

type cli struct {
	Pub        pub        `cmd:"" help:"Publish a price of a symbol and show what ingest answers."`
	Watch      watch      `cmd:"" help:"Show prices as an edge pushes them, until Ctrl-C."`
	Decode     decode     `cmd:"" help:"Read one NATS payload from stdin and write it as a line of JSON."`
	Status     status     `cmd:"" help:"Show whether all is well, region by region."`
	Edges      edges      `cmd:"" help:"List the edges of a region."`
	Buckets    buckets    `cmd:"" help:"List the buckets of a region, each a part of an edge's connections."`
	Symbol     symbol     `cmd:"" help:"Show who wants a symbol, its newest tick and how often it changes."`
	Drain      drain      `cmd:"" help:"Have an edge send its clients to the others and stop."`
	Top        top        `cmd:"" help:"Show what the edges do, again and again, until Ctrl-C."`
	Doctor     doctor     `cmd:"" help:"Check NATS, the clocks and this machine, and say what to change."`
	Completion completion `cmd:"" help:"Print what a shell needs to complete commands and flags."`
}

const description = `Publish prices to Tickfan, watch them, look into it, run it.

  tickctl pub BTC-USD 64123.51
  tickctl watch BTC-USD ETH-USD
  tickctl status --nats nats://eu:4222 --nats nats://us:4222
  nats sub 'ticks.>' --translate 'tickctl decode'`

// Main runs one command line and gives the exit code: 0 when it did what was asked, 1 when that failed (a line on s.Err
// for each thing that is wrong), 2 for wrong arguments. An interrupted watch has done what was asked.
func Main(args []string, s Streams) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return command(ctx, args, s)
}

func command(ctx context.Context, args []string, s Streams) int {
	helped := false
	parser, err := newParser(
		kong.Writers(s.Out, s.Err),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.Exit(func(int) { helped = true }),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(s),
	)
	if err != nil {
		fmt.Fprintf(s.Err, "tickctl: %v\n", err)
		return exitUsage
	}
	kongcompletion.Register(parser) // writes and "exits" where a shell asks for it by COMP_LINE
	if helped {
		return exitDone
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	switch {
	case helped:
		return exitDone
	case err != nil:
		if negative := negativePrice(args); negative != nil {
			err = negative // what looks like a flag to kong
		}
		fmt.Fprintf(s.Err, "tickctl: %v; see tickctl --help\n", err)
		return exitUsage
	}
	if err := parsed.Run(); err != nil {
		faults := problems{err.Error()}
		_ = errors.As(err, &faults)
		for _, f := range faults {
			fmt.Fprintf(s.Err, "tickctl: %s\n", strings.ReplaceAll(f, "\n", "; "))
		}
		return exitFault
	}
	return exitDone
}

// problems are faults that have nothing to do with each other.
type problems []string

func (p problems) Error() string { return strings.Join(p, "; ") }

func newParser(more ...kong.Option) (*kong.Kong, error) {
	return kong.New(&cli{}, append([]kong.Option{kong.Name("tickctl"), kong.Description(description)}, more...)...)
}

// Settings lists the flags of all commands.
func Settings() ([]conf.Setting, error) {
	parser, err := newParser()
	if err != nil {
		return nil, fmt.Errorf("read flags of tickctl: %w", err)
	}
	return conf.SettingsOf(parser.Model), nil
}
