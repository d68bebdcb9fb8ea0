package fleet

import (
	"os"
	"testing"

	"github.com/tickfan/tickfan/libs/natstest"
)

func TestMain(m *testing.M) {
	if IsWorker() {
		os.Exit(Work())
	}
	natstest.Main(m)
}
