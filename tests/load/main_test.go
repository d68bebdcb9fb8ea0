//go:build linux

package load

import (
	"flag"
	"os"
	"testing"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/tests/load/baseline"
	"github.com/tickfan/tickfan/tests/load/fleet"
)

var (
	loadFlag   = flag.String("load", "", "what TestLoad runs: bench (all scenarios; writes results/) or short (the same small; writes nothing)")
	roundsFlag = flag.Int("rounds", 1, "how often bench runs each scenario; medians of the rounds are published")
	onlyFlag   = flag.String("only", "", "the scenarios to run, e.g. AD; results are not written then. Default: all")
)

func TestMain(m *testing.M) {
	switch {
	case fleet.IsWorker():
		os.Exit(fleet.Work())
	case baseline.IsServer():
		os.Exit(baseline.Serve())
	}
	natstest.Main(m)
}
