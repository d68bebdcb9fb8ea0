package sim

import (
	"flag"
	"testing"

	"github.com/tickfan/tickfan/libs/natstest"
)

var (
	simFlag     = flag.String("sim", "", "what TestSim runs: full (up to -buckets, writes results/) or short (10 buckets, for a moment, writes nothing)")
	bucketsFlag = flag.Int("buckets", 1000, "the most buckets of a full run, of 10,000 simulated clients each")
	onlyFlag    = flag.String("only", "", "the one step to run, by its name; results are not written then")
)

func TestMain(m *testing.M) { natstest.Main(m) }
