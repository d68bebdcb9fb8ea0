package fleet

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tickfan/tickfan/tests/load/oracle"
)

const (
	// workerVariable tells a test binary that it is a worker.
	workerVariable = "LOAD_FLEET_WORKER"

	// MostSockets is the most that one worker has, below the usual 20,000 files of a process.
	MostSockets = 18_000

	// readyTime is what a socket may take to be ready, beside the time over which the connects are spread.
	readyTime = 60 * time.Second

	// checkEvery is how often Await looks.
	checkEvery = 20 * time.Millisecond
)

// IsWorker tells whether this process was started as a worker of a fleet. TestMain of a package that starts one asks
// first, and then ends with os.Exit(fleet.Work()).
func IsWorker() bool { return os.Getenv(workerVariable) != "" }

// Fleet is a number of worker processes. All methods belong to the test's goroutine; what cannot go on ends the test.
type Fleet struct {
	t         testing.TB
	workers   []*process
	plans     map[string]Plan
	connected int // sockets so far, those that are gone included
}

// Start starts the workers; they end with the test.
func Start(t testing.TB, workers int) *Fleet {
	t.Helper()
	f := &Fleet{t: t, plans: map[string]Plan{}}
	t.Cleanup(f.stop)
	for range workers {
		p, err := startProcess()
		if err != nil {
			t.Fatalf("fleet: %v", err)
		}
		f.workers = append(f.workers, p)
	}
	return f
}

func (f *Fleet) stop() {
	for i, p := range f.workers {
		if err := p.stop(); err != nil {
			f.t.Errorf("fleet: worker %d: %v", i, err)
		}
	}
}

// ask sends each worker the order that of makes for it, and waits for all answers.
func (f *Fleet) ask(within time.Duration, of func(worker int) order) []answer {
	f.t.Helper()
	for i, p := range f.workers {
		if err := p.orders.Encode(of(i)); err != nil {
			f.t.Fatalf("fleet: order to worker %d: %v\n%s", i, err, p.stderr)
		}
	}
	answers := make([]answer, len(f.workers))
	for i, p := range f.workers {
		a, err := p.answer(within + answerTime)
		if err != nil {
			f.t.Fatalf("fleet: worker %d: %s: %v", i, of(i).Op, err)
		}
		answers[i] = a
	}
	return answers
}

// share is worker i's part of n, and how much the workers before it have.
func (f *Fleet) share(i, n int) (before, count int) {
	before = i * n / len(f.workers)
	return before, (i+1)*n/len(f.workers) - before
}

// Connect connects a crowd, spread evenly over the workers, and returns when each socket is ready or has failed.
func (f *Fleet) Connect(p Plan) Connected {
	f.t.Helper()
	if _, there := f.plans[p.Name]; there || len(p.Targets) == 0 || p.Sockets < 1 {
		f.t.Fatalf("fleet: a crowd needs a name of its own, targets and sockets: %+v", p)
	}
	total := p.Sockets
	for _, other := range f.plans {
		total += other.Sockets
	}
	if most := MostSockets * len(f.workers); total > most {
		f.t.Fatalf("fleet: %d sockets in %d workers: at most %d", total, len(f.workers), most)
	}
	f.plans[p.Name] = p
	before := f.connected
	f.connected += p.Sockets
	return f.connect(p, p.Sockets, func(o *order, i int) {
		o.Op, o.Plan, o.Before = orderConnect, &p, before
		o.First, o.Count = f.share(i, p.Sockets)
	})
}

// Reconnect has n ready sockets of the crowd drop their connections and come back, as many at a time as the crowd's Rate
// says. Those of earlier calls come last.
func (f *Fleet) Reconnect(crowd string, n int) Connected {
	f.t.Helper()
	return f.connect(f.plan(crowd), n, func(o *order, i int) {
		o.Op, o.Crowd = orderReconnect, crowd
		_, o.Count = f.share(i, n)
	})
}

func (f *Fleet) plan(crowd string) Plan {
	f.t.Helper()
	p, ok := f.plans[crowd]
	if !ok {
		f.t.Fatalf("fleet: no crowd %q", crowd)
	}
	return p
}

// connect asks for connects; fill completes a worker's order.
func (f *Fleet) connect(p Plan, sockets int, fill func(o *order, worker int)) Connected {
	f.t.Helper()
	within := readyTime
	if p.Rate > 0 {
		within += time.Duration(sockets) * time.Second / time.Duration(p.Rate)
	}
	backlog := max(1, backlogOfSystem()*7/8*len(p.Targets)/len(f.workers))
	answers := f.ask(within, func(i int) order {
		o := order{Within: within, InFlight: backlog}
		if p.Rate > 0 {
			o.Rate = max(1, p.Rate/len(f.workers))
		}
		fill(&o, i)
		return o
	})
	c := Connected{Asked: sockets, Errors: map[string]int{}, ReadyAfter: newLatency()}
	var began, ended int64
	for _, a := range answers {
		part := a.Connected
		if part == nil {
			f.t.Fatal("fleet: an answer without what was asked for")
		}
		c.Ready += part.Ready
		c.Refused += part.Refused
		c.Failed += part.Failed
		for why, n := range part.Errors {
			c.Errors[why] += n
		}
		c.ReadyAfter.Merge(f.decode(part.ReadyAfter))
		if began == 0 || part.Began < began {
			began = part.Began
		}
		ended = max(ended, part.Ended)
	}
	c.Took = time.Duration(ended-began) * time.Microsecond
	return c
}

// backlogOfSystem is how many connections a listener of Go's has waiting at the most. Beyond it the kernel drops connects,
// which come again a second later.
func backlogOfSystem() int {
	const inDoubt = 128
	text, err := os.ReadFile("/proc/sys/net/core/somaxconn")
	if err != nil {
		return inDoubt
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || n < 1 {
		return inDoubt
	}
	return n
}

func (f *Fleet) decode(text string) *hdrhistogram.Histogram {
	f.t.Helper()
	h, err := hdrhistogram.Decode([]byte(text))
	if err != nil {
		f.t.Fatalf("fleet: decode histogram: %v", err)
	}
	return h
}

// all sends every worker the same order.
func (f *Fleet) all(o order) []answer {
	f.t.Helper()
	return f.ask(0, func(int) order { return o })
}

// Window starts a measuring window: what Report gives is zero.
func (f *Fleet) Window() {
	f.t.Helper()
	f.all(order{Op: orderWindow})
}

// Report is what each crowd saw in the window so far.
func (f *Fleet) Report() map[string]Report {
	f.t.Helper()
	reports := map[string]Report{}
	answers := f.all(order{Op: orderReport})
	var cpu time.Duration
	for _, a := range answers {
		cpu += a.CPU
	}
	for name := range f.plans {
		r := Report{CloseCodes: map[int]int{}, CPU: cpu, Latency: newLatency(), PayloadSize: newSizes()}
		for _, a := range answers {
			part, ok := a.Crowds[name]
			if !ok {
				f.t.Fatalf("fleet: a worker does not know crowd %q", name)
			}
			r.Sockets += part.Open
			r.Closed += part.Closed
			for code, n := range part.CloseCodes {
				r.CloseCodes[code] += n
			}
			r.Traffic.add(part.Traffic)
			r.Counts.Add(part.Counts)
			r.Latency.Merge(f.decode(part.Latency))
			r.PayloadSize.Merge(f.decode(part.Sizes))
			r.Examples = append(r.Examples, part.Examples...)
		}
		reports[name] = r
	}
	return reports
}

// Resume has a stalled or slow crowd read all again.
func (f *Fleet) Resume(crowd string) {
	f.t.Helper()
	f.plan(crowd)
	f.all(order{Op: orderResume, Crowd: crowd})
}

// Disconnect ends the crowd.
func (f *Fleet) Disconnect(crowd string) {
	f.t.Helper()
	f.plan(crowd)
	f.all(order{Op: orderDisconnect, Crowd: crowd})
	delete(f.plans, crowd)
}

// Await waits until the last number of every symbol of every socket of the crowd is finals[symbol], or the time is over.
// A symbol of which nothing was published has 0.
func (f *Fleet) Await(crowd string, finals []uint64, within time.Duration) oracle.Verdict {
	f.t.Helper()
	f.plan(crowd)
	began := time.Now()
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		var v oracle.Verdict
		for _, a := range f.all(order{Op: orderCheck, Crowd: crowd, Finals: finals}) {
			if a.Verdict == nil {
				f.t.Fatal("fleet: an answer without a verdict")
			}
			v.Sockets += a.Verdict.Sockets
			v.Right += a.Verdict.Right
			v.Behind += a.Verdict.Behind
			v.Closed += a.Verdict.Closed
			v.Faults.Add(a.Verdict.Faults)
			v.Examples = append(v.Examples, a.Verdict.Examples...)
		}
		if v.Took = time.Since(began); v.Right == v.Sockets || v.Behind == 0 || v.Took > within {
			return v
		}
		<-tick.C
	}
}
