package fleet

import (
	"os"
	"testing"
	"time"

	"github.com/tickfan/tickfan/tests/load/oracle"
)

// workerVariable tells a test binary that it is a worker.
const workerVariable = "LOAD_FLEET_WORKER"

// IsWorker tells whether this process was started as a worker of a fleet. TestMain of a package that starts one asks
// first, and ends with os.Exit(fleet.Work()).
func IsWorker() bool { return os.Getenv(workerVariable) != "" }

// Work serves the fleet that started this process, until it closes stdin. It gives the exit code.
func Work() int { panic("fleet: not written yet") }

// Fleet is a number of worker processes. All methods belong to the test's goroutine; what cannot go on ends the test.
type Fleet struct{ t testing.TB }

// Start starts the workers; they end with the test.
func Start(t testing.TB, workers int) *Fleet { return &Fleet{t: t} }

// Connect connects a crowd, spread evenly over the workers, and returns when each socket is ready or has failed.
func (f *Fleet) Connect(p Plan) Connected { panic("fleet: not written yet") }

// Window starts a measuring window: all counters and histograms are zero.
func (f *Fleet) Window() { panic("fleet: not written yet") }

// Report is what each crowd saw in the window so far.
func (f *Fleet) Report() map[string]Report { panic("fleet: not written yet") }

// Resume has a stalled or slow crowd read all again.
func (f *Fleet) Resume(crowd string) { panic("fleet: not written yet") }

// Reconnect has n ready sockets of the crowd drop their connections and come back.
func (f *Fleet) Reconnect(crowd string, n int) Connected { panic("fleet: not written yet") }

// Disconnect ends the crowd.
func (f *Fleet) Disconnect(crowd string) { panic("fleet: not written yet") }

// Await waits until the last number of every symbol of every socket of the crowd is finals[symbol], or the time is over.
func (f *Fleet) Await(crowd string, finals []uint64, within time.Duration) oracle.Verdict {
	panic("fleet: not written yet")
}
