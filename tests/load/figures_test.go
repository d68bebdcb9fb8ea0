//go:build linux

package load

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tickfan/tickfan/tests/load/measure"
	"github.com/tickfan/tickfan/tests/load/report"
	"github.com/tickfan/tickfan/tests/stack"
)

// window starts measuring.
func (s *site) window() {
	if len(s.edges) > 0 {
		s.beganWrites, s.beganTicks, s.beganBytes = s.metric("writes_total"), s.metric("deliveries_total"), s.metric("written_bytes_total")
	}
	s.fleet.Window()
	s.began = s.cpu(slices.Concat(s.servers, s.others))
}

// finish waits until each crowd has the newest values, and reads what the window was.
func (s *site) finish(within time.Duration) {
	for _, c := range s.crowds {
		s.await(c, within)
	}
	s.collect()
}

// await has a crowd end on the newest value of each symbol, without a fault since it was connected.
func (s *site) await(crowd string, within time.Duration) {
	s.t.Helper()
	if v := s.fleet.Await(crowd, s.numbers, within); !v.OK() {
		s.wrong("crowd %s: %v", crowd, v)
	}
}

// collect reads what the window was.
func (s *site) collect() {
	s.t.Helper()
	cpu := since(s.cpu(slices.Concat(s.servers, s.others)), s.began)
	for name, d := range cpu {
		s.run.CPU[name] = d.Seconds()
	}
	for _, p := range s.servers {
		s.run.ServerCPU += cpu[p.Name()].Seconds()
	}
	if len(s.edges) > 0 {
		s.run.EdgeWrites = s.metric("writes_total") - s.beganWrites
		s.run.EdgeDeliveries = s.metric("deliveries_total") - s.beganTicks
		s.run.EdgeBytes = s.metric("written_bytes_total") - s.beganBytes
	}
	s.run.RSS, s.run.KernelMemory = s.rss(), s.kernelMemory()
	reports := s.fleet.Report()
	latency := hdrhistogram.New(1, time.Hour.Microseconds(), 3)
	for _, name := range slices.Sorted(maps.Keys(reports)) {
		r := reports[name]
		s.run.Deliveries += r.Deliveries
		s.run.Frames += r.Frames
		s.run.Bytes += r.Bytes
		s.run.Reads += r.Reads
		s.run.Skipped += r.Skipped
		s.run.FleetCPU = r.CPU.Seconds()
		if r.Latency != nil {
			latency.Merge(r.Latency)
		}
		if len(reports) > 1 {
			s.run.Crowds[name] = report.Crowd{Sockets: r.Sockets, Deliveries: r.Deliveries, Latency: report.QuantilesOf(r.Latency)}
		}
		if r.Closed > 0 {
			s.wrong("crowd %s: %d sockets closed: %v", name, r.Closed, r.CloseCodes)
		}
		if r.Errors > 0 {
			s.wrong("crowd %s: %d errors told: %v", name, r.Errors, r.Examples)
		}
	}
	s.run.Latency = report.QuantilesOf(latency)
	s.say()
}

// say logs the run in a line, for whoever watches.
func (s *site) say() {
	r := &s.run
	memory := fmt.Sprintf("RSS %.1f, %.1f, %.1f MB", float64(r.EmptyRSS)/1e6, float64(r.SettledRSS)/1e6, float64(r.RSS)/1e6)
	connecting := fmt.Sprintf("%d sockets in %.1f s, CPU %s each", r.Sockets, r.Connecting.Took, microseconds(r.CPUPerConnect()))
	s.t.Logf("%s; %d ticks in %.1f s, %d deliveries, CPU %s each, latency %+v us; %s; clients' CPU %.1f s", connecting, r.Published, r.Window,
		r.Deliveries, microseconds(r.CPUPerDelivery()), r.Latency, memory, r.FleetCPU)
}

// wrong fails the test for what a client was told, and keeps it with the run.
func (s *site) wrong(format string, args ...any) {
	s.t.Helper()
	s.run.Wrong = fmt.Sprintf(format, args...)
	s.t.Error(s.run.Wrong)
}

// cpu is the CPU time of processes so far, by name.
func (s *site) cpu(of []*stack.Process) map[string]time.Duration {
	s.t.Helper()
	all := map[string]time.Duration{}
	for _, p := range of {
		d, err := measure.CPU(p.PID())
		if err != nil {
			s.t.Fatalf("%s: %v", p.Name(), err)
		}
		all[p.Name()] = d
	}
	return all
}

func since(now, before map[string]time.Duration) map[string]time.Duration {
	d := map[string]time.Duration{}
	for name, v := range now {
		d[name] = v - before[name]
	}
	return d
}

func sum(all map[string]time.Duration) (d time.Duration) {
	for _, v := range all {
		d += v
	}
	return d
}

// rss is the resident memory of all servers under test.
func (s *site) rss() (all int64) {
	s.t.Helper()
	for _, p := range s.servers {
		n, err := measure.RSS(p.PID())
		if err != nil {
			s.t.Fatalf("%s: %v", p.Name(), err)
		}
		all += n
	}
	return all
}

// kernelMemory is what the kernel keeps for the servers' side of the connections.
func (s *site) kernelMemory() (all int64) {
	s.t.Helper()
	for _, a := range s.targets() {
		_, text, err := net.SplitHostPort(a)
		if err != nil {
			s.t.Fatal(err)
		}
		port, err := strconv.Atoi(text)
		if err != nil {
			s.t.Fatal(err)
		}
		k, err := measure.Established(port)
		if err != nil {
			s.t.Fatal(err)
		}
		all += k.Bytes
	}
	return all
}

// metric is the sum of one over all edges.
func (s *site) metric(name string) (all float64) {
	s.t.Helper()
	for _, e := range s.edges {
		all += e.Metric("tickfan_edge_" + name)
	}
	return all
}
