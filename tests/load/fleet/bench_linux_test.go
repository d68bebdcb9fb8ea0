package fleet

import (
	"bufio"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/tick"
	"github.com/tickfan/tickfan/tests/load/oracle"
)

// BenchmarkFleet is what a delivery costs a worker, in CPU of its process, the kernel's part of the read included: many
// sockets with one tick each, and fewer with many ticks in a write.
func BenchmarkFleet(b *testing.B) {
	for _, c := range []struct{ sockets, ticks int }{{4000, 1}, {1000, 50}} {
		b.Run(fmt.Sprintf("sockets=%d/ticks=%d", c.sockets, c.ticks), func(b *testing.B) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			joined := make(chan net.Conn)
			go func() {
				defer close(joined)
				for range c.sockets {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					if (&peer{Conn: conn, r: bufio.NewReader(conn)}).upgrade() {
						joined <- conn
					}
				}
			}()
			f := Start(b, 1)
			var conns []net.Conn
			gathered := make(chan struct{})
			go func() {
				defer close(gathered)
				for conn := range joined {
					conns = append(conns, conn)
				}
			}()
			plan := Plan{Name: "all", Targets: []string{l.Addr().String()}, Sockets: c.sockets, Dialect: Frames, Symbols: c.ticks, Each: c.ticks, Mode: "every"}
			r := f.Connect(plan)
			_ = l.Close()
			<-gathered
			if r.Ready != c.sockets {
				b.Fatalf("%+v", r)
			}
			finals := make([]uint64, c.ticks)
			var frames []byte
			f.Window()
			for b.Loop() {
				frames = frames[:0]
				for i := range finals {
					finals[i]++
					frames = append(frames, serverFrame(opText, priced(i, finals[i]))...)
				}
				for _, conn := range conns {
					if _, err := conn.Write(frames); err != nil {
						b.Fatal(err)
					}
				}
			}
			v := f.Await("all", finals, time.Minute)
			report := f.Report()["all"]
			if !v.OK() {
				b.Fatal(v)
			}
			deliveries := max(1, int(report.Deliveries))
			b.ReportMetric(float64(report.CPU.Nanoseconds())/float64(deliveries), "worker-ns/delivery")
			b.ReportMetric(float64(report.Deliveries)/float64(max(1, report.Reads)), "deliveries/read")
			b.ReportMetric(r.Took.Seconds()*1e6/float64(c.sockets), "us/connect")
			f.Disconnect("all")
			for _, conn := range conns {
				_ = conn.Close()
			}
		})
	}
}

// BenchmarkData is what a worker does with what it has read: cut the frame, scan the tick, show it to the oracle, record
// it.
func BenchmarkData(b *testing.B) {
	for _, f := range formats() {
		b.Run("format="+f.String(), func(b *testing.B) {
			const ticks = 50
			c, err := newCrowd(Plan{Dialect: []Dialect{session.JSON: JSON, session.MessagePack: MessagePack}[f], Symbols: ticks, Each: ticks})
			if err != nil {
				b.Fatal(err)
			}
			w := &worker{now: micros()}
			s := &socket{crowd: c, state: stateReady, tracks: make([]oracle.Track, ticks)}
			var frames []byte
			number := uint64(0)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				number++
				frames = frames[:0]
				for i := range ticks {
					t := tick.Tick{Symbol: name(i), Position: tick.Position{Epoch: 1, Seq: number},
						Quote: tick.Quote{Price: tick.MustDecimal(Price(number)), TS: w.now}}
					frames = append(frames, serverFrame(opText+byte(f), session.AppendTick(f, nil, &t))...)
				}
				b.StartTimer()
				w.cut(s, frames)
			}
			if c.counts.Faults() > 0 || c.window.Errors > 0 {
				b.Fatalf("%s, %q", c.counts, c.examples)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(ticks*int(number)), "ns/tick")
		})
	}
}
