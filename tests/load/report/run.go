package report

import (
	"math"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Run is one server under one load. Times of CPU are in seconds of the window, memory in bytes.
type Run struct {
	Scenario string `json:"scenario"`
	Round    int    `json:"round"` // from 1
	Turn     int    `json:"turn"`  // of this server in its round, from 1: it stood beside the other servers of the same turn
	Server   string `json:"server"`
	Detail   string `json:"detail,omitempty"` // what is special of this server

	Sockets    int     `json:"sockets"`
	Symbols    int     `json:"symbols"`
	AskedRate  float64 `json:"asked_rate"`     // ticks a second, all symbols
	Published  int     `json:"published"`      // ticks in the window
	Window     float64 `json:"window_seconds"` // publishing, without the wait for the last deliveries
	Connecting Connect `json:"connect"`

	Deliveries int64     `json:"deliveries"`
	Frames     int64     `json:"frames"`
	Bytes      int64     `json:"bytes"`
	Reads      int64     `json:"reads"`
	Skipped    int64     `json:"skipped"`         // ticks conflated away
	Wrong      string    `json:"wrong,omitempty"` // what a client was told wrong; the run has failed
	Latency    Quantiles `json:"latency_us"`

	// CPU by process over the window; the sum of the servers under test is ServerCPU.
	CPU       map[string]float64 `json:"cpu_seconds"`
	ServerCPU float64            `json:"server_cpu_seconds"`
	FleetCPU  float64            `json:"fleet_cpu_seconds"`

	// What the edge says itself, over the window.
	EdgeWrites     float64 `json:"edge_writes,omitempty"`
	EdgeDeliveries float64 `json:"edge_deliveries,omitempty"`
	EdgeBytes      float64 `json:"edge_bytes,omitempty"`

	// Resident memory of the servers under test, and the kernel's for their sockets.
	EmptyRSS     int64   `json:"rss_empty,omitempty"`     // before the first client
	SettledRSS   int64   `json:"rss_settled,omitempty"`   // with all clients, before the first tick
	RSS          int64   `json:"rss,omitempty"`           // at the end
	RSSOverTime  []int64 `json:"rss_over_time,omitempty"` // every few seconds of the window
	SettledInUse int64   `json:"go_settled,omitempty"`    // of the above what Go has in use right after a collection
	InUse        int64   `json:"go,omitempty"`
	SettledInOS  int64   `json:"kernel_settled,omitempty"`
	KernelMemory int64   `json:"kernel,omitempty"`

	Crowds map[string]Crowd   `json:"crowds,omitempty"` // where there is more than one
	More   map[string]float64 `json:"more,omitempty"`   // of this scenario alone
}

// Connect is what came of connecting all clients.
type Connect struct {
	Asked   int     `json:"asked"`
	Ready   int     `json:"ready"`
	Refused int     `json:"refused"`
	Failed  int     `json:"failed"`
	Took    float64 `json:"seconds"`
	CPU     float64 `json:"server_cpu_seconds"`
}

// Crowd is what one kind of clients saw.
type Crowd struct {
	Sockets    int       `json:"sockets"`
	Deliveries int64     `json:"deliveries"`
	Latency    Quantiles `json:"latency_us"`
}

// Quantiles of a histogram, in its unit.
type Quantiles struct {
	P50  int64 `json:"p50"`
	P90  int64 `json:"p90"`
	P99  int64 `json:"p99"`
	P999 int64 `json:"p99.9"`
	Max  int64 `json:"max"`
}

// QuantilesOf reads a histogram; nil and empty ones give zeros.
func QuantilesOf(h *hdrhistogram.Histogram) Quantiles {
	if h == nil || h.TotalCount() == 0 {
		return Quantiles{}
	}
	return Quantiles{P50: h.ValueAtQuantile(50), P90: h.ValueAtQuantile(90), P99: h.ValueAtQuantile(99), P999: h.ValueAtQuantile(99.9), Max: h.Max()}
}

// CPUPerDelivery is in microseconds, of the servers under test.
func (r *Run) CPUPerDelivery() float64 {
	if r.Deliveries == 0 {
		return nan()
	}
	return r.ServerCPU * 1e6 / float64(r.Deliveries)
}

// CPUPerConnect is in microseconds.
func (r *Run) CPUPerConnect() float64 {
	return Ratio(r.Connecting.CPU*1e6, float64(r.Connecting.Ready))
}

// ConnectRate is connections accepted a second.
func (r *Run) ConnectRate() float64 { return Ratio(float64(r.Connecting.Ready), r.Connecting.Took) }

// BytesPerConnection is the resident memory that came with the clients, by client: once all is settled or at the end,
// whichever is more.
func (r *Run) BytesPerConnection() float64 {
	return Ratio(float64(max(r.SettledRSS, r.RSS)-r.EmptyRSS), float64(r.Sockets))
}

// CPUPerConnectionSecond is in microseconds, of a run in which nothing was published.
func (r *Run) CPUPerConnectionSecond() float64 {
	if r.Sockets == 0 || r.Window == 0 {
		return nan()
	}
	return r.ServerCPU * 1e6 / float64(r.Sockets) / r.Window
}

// UpdatesPerWrite is by the edge's own count.
func (r *Run) UpdatesPerWrite() float64 { return Ratio(r.EdgeDeliveries, r.EdgeWrites) }

func nan() float64 { return math.NaN() }
