package ingest

import (
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/tickfan/tickfan/libs/conf"
	"github.com/tickfan/tickfan/proto/subject"
)

// Names of sources. What is published on ingest.<symbol> is always taken.
const (
	SourceGenerator = "generator"
	SourceCoinbase  = "coinbase"
	SourceNone      = "none"
)

// Options are ingest's own flags.
type Options struct {
	Source           []string `name:"source" default:"${source}" placeholder:"NAME" help:"Where prices come from besides ingest.<symbol>: generator, coinbase or none; may be repeated."`
	CoinbaseURL      string   `name:"coinbase-url" default:"wss://ws-feed.exchange.coinbase.com" placeholder:"URL" help:"WebSocket feed of Coinbase Exchange."`
	CoinbaseProducts []string `name:"coinbase-products" default:"BTC-USD,ETH-USD" placeholder:"SYMBOL" help:"Products to read from Coinbase Exchange."`
	GeneratorSeed    uint64   `name:"generator-seed" default:"0" help:"Seed of the generator's dice; the same gives the same market, 0 another each time."`
	History          int64    `name:"history" default:"1000" help:"Ticks that the stream TICKS keeps of each symbol."`
	MaxSymbols       int      `name:"max-symbols" default:"20000" help:"Most distinct symbols."`
	Replicas         int      `name:"replicas" default:"1" help:"On how many NATS servers TICKS and LEADER are kept: 1, 3 or 5."`
}

// Config is ingest's configuration.
type Config struct {
	conf.Common `embed:""`
	Options     `embed:""`
}

// Defaults are those that the all-in-one sets otherwise.
func Defaults() map[string]string {
	return map[string]string{"ops": ":9094", "source": SourceNone}
}

// Validate reports every fault at once, each named by its flag.
func (o *Options) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	for _, s := range o.Source {
		if s != SourceGenerator && s != SourceCoinbase && s != SourceNone {
			fault("--source %q: one of generator, coinbase, none", s)
		}
	}
	if slices.Contains(o.Source, SourceNone) && (o.has(SourceGenerator) || o.has(SourceCoinbase)) {
		fault("--source none: goes with no other source")
	}
	u, err := url.Parse(o.CoinbaseURL)
	if err != nil || u.Host == "" || u.Scheme != "ws" && u.Scheme != "wss" {
		fault("--coinbase-url %q: ws://host[:port] or wss://host[:port]", o.CoinbaseURL)
	}
	if o.has(SourceCoinbase) && len(o.CoinbaseProducts) == 0 {
		fault("--coinbase-products: name at least one, e.g. BTC-USD")
	}
	for _, p := range o.CoinbaseProducts {
		if _, err := subject.ParseSymbol(p); err != nil {
			fault("--coinbase-products: %w", err)
		}
	}
	if o.History < 1 {
		fault("--history %d: 1 or more", o.History)
	}
	if o.MaxSymbols < 1 {
		fault("--max-symbols %d: 1 or more", o.MaxSymbols)
	}
	if o.Replicas != 1 && o.Replicas != 3 && o.Replicas != 5 {
		fault("--replicas %d: 1, 3 or 5", o.Replicas)
	}
	return errors.Join(faults...)
}

func (o *Options) has(source string) bool { return slices.Contains(o.Source, source) }

// products are the products without doubles, in their order.
func (o *Options) products() []subject.Symbol {
	var all []subject.Symbol
	for _, p := range o.CoinbaseProducts {
		if s := subject.Symbol(p); !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}
