//go:build linux

package baseline

import (
	"net"
	"sync"

	"github.com/lxzan/gws"
)

// gwsServer is gws as its README has it: gws.NewServer without options, Broadcaster, nothing else. A slice holds the
// connections, so that the loop over them costs nothing beside gws.
type gwsServer struct {
	gws.BuiltinEventHandler

	mu    sync.Mutex
	conns []*gws.Conn
	index map[*gws.Conn]int
}

func newGWS() *gwsServer { return &gwsServer{index: map[*gws.Conn]int{}} }

func (s *gwsServer) serve(ln net.Listener) error { return gws.NewServer(s, nil).RunListener(ln) }

func (s *gwsServer) OnOpen(c *gws.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index[c] = len(s.conns)
	s.conns = append(s.conns, c)
}

func (s *gwsServer) OnClose(c *gws.Conn, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, last := s.index[c], len(s.conns)-1
	s.conns[i] = s.conns[last]
	s.index[s.conns[i]] = i
	s.conns[last] = nil
	s.conns = s.conns[:last]
	delete(s.index, c)
}

func (s *gwsServer) broadcast(payload []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := gws.NewBroadcaster(gws.OpcodeText, payload)
	defer b.Close()
	for _, c := range s.conns {
		_ = b.Broadcast(c) // a connection that fails is closed by gws
	}
}
