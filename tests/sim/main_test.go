package sim

import (
	"flag"
	"testing"

	"github.com/tickfan/tickfan/libs/natstest"
)

var (
	simFlag     = flag.Bool("sim", false, "run TestSim")
	bucketsFlag = flag.Int("buckets", 1000, "the most buckets, of 10,000 simulated clients each")
)

func TestMain(m *testing.M) { natstest.Main(m) }
