package ingest

import (
	"slices"
	"strings"
	"testing"

	"github.com/tickfan/tickfan/libs/conf"
)

func parse(t *testing.T, args ...string) (Config, error) {
	t.Helper()
	var cfg Config
	_, err := conf.Parse("ingest", "test", &cfg, args, Defaults())
	return cfg, err
}

func TestDefaults(t *testing.T) {
	cfg, err := parse(t)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Ops != ":9094" || cfg.History != 1000 || cfg.MaxSymbols != 20_000 || cfg.Replicas != 1 || cfg.GeneratorSeed != 0 ||
		!slices.Equal(cfg.Source, []string{"none"}) || !slices.Equal(cfg.CoinbaseProducts, []string{"BTC-USD", "ETH-USD"}) ||
		cfg.CoinbaseURL != "wss://ws-feed.exchange.coinbase.com" {
		t.Errorf("%+v", cfg)
	}
}

func TestSourceIsRepeatable(t *testing.T) {
	for _, args := range [][]string{{"--source", "generator", "--source", "coinbase"}, {"--source=generator,coinbase"}} {
		cfg, err := parse(t, args...)
		if err != nil || !cfg.has(SourceGenerator) || !cfg.has(SourceCoinbase) {
			t.Errorf("%v: %v %v", args, cfg.Source, err)
		}
	}
	t.Setenv("TICKFAN_SOURCE", "generator")
	if cfg, err := parse(t); err != nil || !cfg.has(SourceGenerator) {
		t.Errorf("from the environment: %v %v", cfg.Source, err)
	}
}

func TestAllFaultsAtOnce(t *testing.T) {
	_, err := parse(t, "--source", "kraken", "--source", "none", "--source", "generator", "--coinbase-url", "http://x", "--coinbase-products", "btc-usd",
		"--history", "0", "--max-symbols", "0", "--replicas", "9")
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{`--source "kraken"`, "--source none", "--coinbase-url", `"btc-usd"`, "--history", "--max-symbols", "--replicas"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nlacks %s", err, want)
		}
	}
}

func TestProductsWithoutDoubles(t *testing.T) {
	cfg, err := parse(t, "--coinbase-products", "B,A,B")
	if got := cfg.products(); err != nil || len(got) != 2 || got[0] != "B" || got[1] != "A" {
		t.Errorf("%v %v", got, err)
	}
}
