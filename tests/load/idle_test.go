//go:build linux

package load

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/tickfan/tickfan/tests/load/fleet"
	"github.com/tickfan/tickfan/tests/load/report"
)

// Readers of an edge.
const (
	epollReader     = "epoll"
	goroutineReader = "goroutine"
)

// Of D: every client has its own 5 of 50 symbols, and nothing is published.
const (
	idleSymbols = 50
	idleEach    = 5
	// idlePings is how many rounds of pings, 25 s apart, are in the window: whole ones, else the figure says more of when
	// it began than of what it costs.
	idlePings = 3
)

// hasReaders tells whether the edge can be told how to read.
func (b *bench) hasReaders() bool {
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	help, err := exec.CommandContext(ctx, b.programs.Path("edge"), "--help").CombinedOutput()
	if err != nil {
		b.t.Errorf("edge --help: %v\n%s", err, help)
	}
	return strings.Contains(string(help), "--reader")
}

// runD: clients that have their prices and see no change.
func (b *bench) runD() {
	readers := []string{""}
	if b.hasReaders() {
		readers = []string{epollReader, goroutineReader}
	}
	for _, reader := range readers {
		var flags []string
		if reader != "" {
			flags = []string{"--reader", reader}
		}
		b.idle(load{scenario: "D", server: edge, detail: reader, flags: flags, symbols: idleSymbols}, idlePings*25*time.Second)
	}
	if b.short {
		return
	}
	for _, server := range []string{gws, natsServer} {
		b.idle(load{scenario: "D", server: server, symbols: idleSymbols}, 5*time.Second)
	}
}

func (b *bench) idle(l load, window time.Duration) {
	b.attempt(l, func(s *site) bool {
		if !s.connect(fleet.Plan{Name: "all", Sockets: pick(b, 15_000, 500), Each: idleEach}) {
			return false
		}
		s.settle(pick(b, 20*time.Second, 4*time.Second))
		s.window()
		s.pause(pick(b, window, time.Second))
		s.finish(patience)
		return true
	})
}

// pause lets time pass in which nothing is published.
func (s *site) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	began := time.Now()
	<-t.C
	s.run.Window = time.Since(began).Seconds()
}

func (b *bench) tellD() report.Scenario {
	s := report.Scenario{Title: fmt.Sprintf("%d idle sockets, %d symbols each", pick(b, 15_000, 500), idleEach),
		Head: []string{"server", "reader", "RSS/connection", "CPU/connection-second", "window"}}
	bounds := []struct {
		reader string
		most   float64 // KB
		name   string
	}{{epollReader, 2.5, "frame reader"}, {goroutineReader, 7.5, "portable path"}, {"", 7.5, "portable path"}}
	for _, bound := range bounds {
		if len(b.of("D", edge, bound.reader)) == 0 {
			continue
		}
		m := func(figure func(*report.Run) float64) float64 { return b.median("D", edge, bound.reader, figure) }
		s.Targets = append(s.Targets,
			report.AtMost("resident memory a connection, "+bound.name, m((*report.Run).BytesPerConnection)/1024, bound.most, 2, " KB"),
			report.AtMost("CPU a connection-second, "+bound.name, m((*report.Run).CPUPerConnectionSecond), 1, 2, " us"))
		s.Rows = append(s.Rows, b.idleRow(edge, bound.reader))
	}
	for _, server := range []string{gws, natsServer} {
		if len(b.of("D", server, "")) > 0 {
			s.Rows = append(s.Rows, b.idleRow(server, ""))
		}
	}
	if len(b.of("D", edge, "")) > 0 {
		s.Notes = append(s.Notes, "This edge has one reader only, the portable one.")
	}
	return s
}

func (b *bench) idleRow(server, reader string) []string {
	m := func(figure func(*report.Run) float64) float64 { return b.median("D", server, reader, figure) }
	return []string{server, reader, kilobytes(m((*report.Run).BytesPerConnection)), microseconds(m((*report.Run).CPUPerConnectionSecond)),
		figure("%.0f s", m(func(r *report.Run) float64 { return r.Window }))}
}
