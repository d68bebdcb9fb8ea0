//go:build linux

package load

import (
	"github.com/tickfan/tickfan/tests/load/report"
)

// bars is the picture: what a delivery costs, and what a connection takes.
func (b *bench) bars() []report.Panel {
	cpu := report.Panel{Title: "Server CPU per delivery, 10,000 sockets, one tick to each"}
	for _, s := range []struct{ server, name string }{{limit, "bare write(2) loop"}, {edge, "Tickfan edge"}, {gws, "gws Broadcaster"}, {natsServer, "nats-server WebSocket"}} {
		v := b.median("A", s.server, "", (*report.Run).CPUPerDelivery)
		cpu.Add(s.name, v, figure("%.2f us", v), s.server == edge)
	}
	memory := report.Panel{Title: "Resident memory per idle connection, 5 symbols each"}
	for _, s := range []struct{ server, reader, name string }{{edge, epollReader, "Tickfan edge"}, {edge, goroutineReader, "Tickfan edge, portable"},
		{edge, "", "Tickfan edge"}, {gws, "", "gws, no symbols"}, {natsServer, "", "nats-server WebSocket"}} {
		v := b.median("D", s.server, s.reader, (*report.Run).BytesPerConnection)
		memory.Add(s.name, v/1024, kilobytes(v), s.server == edge)
	}
	return []report.Panel{cpu, memory}
}
