package chaos

import (
	"flag"
	"testing"
	"time"

	"github.com/tickfan/tickfan/libs/natstest"
)

var (
	forFlag  = flag.Duration("for", 0, "how long TestChaos deals blows; 0: not at all")
	seedFlag = flag.Uint64("seed", 0, "which blows; 0: others each time")
	onlyFlag = flag.String("only", "", "the blows to deal: a regular expression; default all")
)

// well is how long it may take until all is well again after everything was mended.
const well = 30 * time.Second

func TestMain(m *testing.M) { natstest.Main(m) }
