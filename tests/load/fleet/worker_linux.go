package fleet

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"
)

const (
	readBuffer = 256 << 10 // stays in a core's cache
	mostEvents = 1024      // of one epoll_wait

	wakeSlot = -1 // of the eventfd that says that an order is there

	paceEvery = time.Millisecond      // how often connects at a rate are begun
	slowEvery = 10 * time.Millisecond // how often slow sockets are looked at
)

// Work serves the fleet that started this process, until it closes stdin. It gives the exit code.
//
//	stdin -> orders -> eventfd -+
//	                            v
//	sockets ----------------> epoll -> read -> cut frames -> scan ticks -> oracle, histograms
//	                            ^                                              |
//	                          timer: connects, slow reads, deadlines           +-> answers -> stdout
func Work() int {
	if err := work(); err != nil {
		fmt.Fprintln(os.Stderr, "fleet worker:", err)
		return 1
	}
	return 0
}

func work() error {
	// A worker makes garbage only while it connects: let it be, the sockets of others need the core.
	debug.SetGCPercent(400)
	runtime.LockOSThread()
	w, err := newWorker()
	if err != nil {
		return err
	}
	go w.readOrders() // ends with the process
	return w.loop()
}

// worker is one thread with an epoll. All its fields belong to that thread but orders.
type worker struct {
	poll   int
	wake   int // eventfd
	orders chan order
	out    *json.Encoder

	crowds map[string]*crowd
	table  []*socket // by slot
	free   []int32   // slots
	slow   []*socket
	task   *task // connect or reconnect, until its answer

	buf      []byte
	now      int64 // when the last read returned, microseconds since 1970
	sight    sighting
	cpuStart time.Duration // when the window began
}

func newWorker() (*worker, error) {
	w := &worker{orders: make(chan order, 16), out: json.NewEncoder(os.Stdout), crowds: map[string]*crowd{}, buf: make([]byte, readBuffer)}
	var err error
	if w.poll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("make epoll: %w", err)
	}
	if w.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, fmt.Errorf("make eventfd: %w", err)
	}
	if err := unix.EpollCtl(w.poll, unix.EPOLL_CTL_ADD, w.wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: wakeSlot}); err != nil {
		return nil, fmt.Errorf("watch eventfd: %w", err)
	}
	return w, nil
}

// readOrders hands the lines of stdin to the loop and closes orders at their end.
func (w *worker) readOrders() {
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadBytes('\n')
		var o order
		if err == nil {
			err = json.Unmarshal(line, &o)
		}
		if err != nil {
			close(w.orders)
			w.ring()
			return
		}
		w.orders <- o
		w.ring()
	}
}

// ring wakes the loop. An eventfd refuses only when it is rung already.
func (w *worker) ring() {
	_, _ = unix.Write(w.wake, binary.NativeEndian.AppendUint64(nil, 1))
}

func (w *worker) loop() error {
	var events [mostEvents]unix.EpollEvent
	for {
		n, err := unix.EpollWait(w.poll, events[:], w.timeout())
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for events: %w", err)
		}
		for _, e := range events[:max(n, 0)] {
			if e.Fd != wakeSlot {
				w.event(e)
				continue
			}
			if more, err := w.takeOrders(); err != nil || !more {
				return err
			}
		}
		w.readSlow()
		if err := w.goOn(); err != nil {
			return err
		}
	}
}

// timeout is how long the loop may wait for events, in milliseconds; -1: as long as it takes.
func (w *worker) timeout() int {
	wait := time.Duration(-1)
	switch {
	case w.task != nil && w.task.paced():
		wait = paceEvery
	case len(w.slow) > 0:
		wait = slowEvery
	case w.task != nil:
		wait = 100 * time.Millisecond // its deadline
	default:
		return -1
	}
	return int(wait.Milliseconds())
}

// takeOrders does what is asked for and tells whether more may come.
func (w *worker) takeOrders() (more bool, err error) {
	var count [8]byte
	_, _ = unix.Read(w.wake, count[:])
	for {
		select {
		case o, open := <-w.orders:
			if !open {
				return false, nil
			}
			if err := w.do(o); err != nil {
				return false, err
			}
		default:
			return true, nil
		}
	}
}

// do does an order and answers it; connect and reconnect are answered when their task is done. The error is that of
// stdout: what cannot be done is an answer.
func (w *worker) do(o order) error {
	var a answer
	err := func() error {
		if o.Op == orderConnect {
			return w.connect(o)
		}
		if o.Op == orderWindow || o.Op == orderReport {
			var err error
			a, err = w.window(o)
			return err
		}
		c := w.crowds[o.Crowd]
		if c == nil {
			return fmt.Errorf("no crowd %q", o.Crowd)
		}
		switch o.Op {
		case orderReconnect:
			return w.reconnect(c, o)
		case orderResume:
			return w.resume(c)
		case orderDisconnect:
			w.disconnect(c)
		case orderCheck:
			v := c.check(o.Finals)
			a.Verdict = &v
		default:
			return fmt.Errorf("order %q is not known", o.Op)
		}
		return nil
	}()
	switch {
	case err != nil:
		a.Error = err.Error()
		w.task = nil
	case o.Op == orderConnect || o.Op == orderReconnect:
		return nil
	}
	return w.say(a)
}

func (w *worker) say(a answer) error {
	if err := w.out.Encode(a); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	return nil
}

// window opens a new one, or reports the present one.
func (w *worker) window(o order) (answer, error) {
	cpu, err := cpuTime()
	if err != nil {
		return answer{}, err
	}
	if o.Op == orderWindow {
		w.cpuStart = cpu
		for _, c := range w.crowds {
			c.openWindow(micros())
		}
		return answer{}, nil
	}
	a := answer{CPU: cpu - w.cpuStart, Crowds: map[string]crowdPart{}}
	for name, c := range w.crowds {
		if a.Crowds[name], err = c.part(); err != nil {
			return answer{}, err
		}
	}
	return a, nil
}

// cpuTime is what this process has used, user and system.
func cpuTime() (time.Duration, error) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0, fmt.Errorf("get CPU time: %w", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

// micros is the clock that prices are stamped by: microseconds since 1970.
func micros() int64 { return time.Now().UnixMicro() }
