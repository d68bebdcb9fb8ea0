package compose

import (
	"flag"
	"testing"

	"github.com/tickfan/tickfan/libs/natstest"
)

var (
	composeFlag   = flag.Bool("compose", false, "run the tests that need a Docker Engine")
	overridesFlag = flag.String("overrides", "", "files that docker compose gets besides docker-compose.yml, from the top of the repository")
)

func TestMain(m *testing.M) { natstest.Main(m) }
