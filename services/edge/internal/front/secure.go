package front

import (
	"crypto/tls"
	"net"

	"github.com/tickfan/tickfan/services/edge/internal/socket"
)

// secure has each connection speak TLS. Its handshake is carried out by net/http, in the connection's own goroutine and
// within RequestTime.
type secure struct {
	net.Listener
	config *tls.Config
}

func (s secure) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return socket.NewTLS(c.(*net.TCPConn), s.config), nil
}
