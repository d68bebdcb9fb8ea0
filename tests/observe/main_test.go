package observe

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tickfan/tickfan/tests/stack"
)

// patience is for whatever must happen, on a busy machine under the race detector.
const patience = 60 * time.Second

// programs are built once for all tests.
var programs stack.Programs

// built is the tests with the building before and the removal after them.
type built struct{ m *testing.M }

func (b built) Run() int {
	var err error
	if programs, err = stack.Build(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer programs.Remove()
	return b.m.Run()
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(built{m}) }
