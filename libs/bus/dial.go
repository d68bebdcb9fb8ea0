package bus

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// dial is one attempt, which ends when ctx does; the connection that it gives does not.
func dial(ctx context.Context, o Options, w *watch) (*nats.Conn, error) {
	d := &dialer{}
	var cancel context.CancelFunc
	d.ctx, cancel = context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	nc, err := nats.Connect(o.URL, append(options(o, w), nats.SetCustomDialer(d), nats.SkipHostLookup())...)
	d.connected.Store(true)
	if ended := !stop(); err != nil || ended {
		cancel()
		if err == nil {
			nc.Close()
			err = context.Cause(ctx)
		}
		return nil, err
	}
	return nc, nil
}

// dialer is what nats.go has itself, under a context: a name server or a server that does not
// answer would else hold up a stop for as long as it takes, times the number of servers.
type dialer struct {
	ctx       context.Context
	connected atomic.Bool // the first time; from then on nothing waits for a dial
}

// Dial tries all addresses of a host, in any order, so that clients spread over them.
func (d *dialer) Dial(network, address string) (conn net.Conn, err error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(d.ctx, dialTimeout)
	defer cancel()
	ips, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return nil, fmt.Errorf("look up host: %w", err)
	}
	rand.Shuffle(len(ips), func(i, j int) { ips[i], ips[j] = ips[j], ips[i] })
	one := net.Dialer{Timeout: dialTimeout / time.Duration(len(ips))}
	for _, ip := range ips {
		if conn, err = one.DialContext(ctx, network, net.JoinHostPort(ip, port)); err != nil {
			continue
		}
		if !d.connected.Load() { // it may not speak NATS, nor anything
			context.AfterFunc(d.ctx, func() { _ = conn.Close() })
		}
		return wholeConn{conn}, nil
	}
	return nil, err
}

// wholeConn ends with the first write that fails. nats.go forgets what was in its buffer then,
// and goes on unless a part of it had left: messages for which Publish gave no error would be
// lost without a reconnection, and that is what all who repair go by.
type wholeConn struct{ net.Conn }

func (c wholeConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err != nil {
		_ = c.Close()
	}
	return n, err
}
