//go:build linux

package baseline

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
)

// serverVariable tells a test binary that it is a server, and which.
const serverVariable = "LOAD_BASELINE_SERVER"

// largest is the longest payload that a server takes, in bytes.
const largest = 64 << 10

// IsServer tells whether this process was started as a baseline. TestMain of a package that starts one asks first, and
// ends with os.Exit(baseline.Serve()).
func IsServer() bool { return os.Getenv(serverVariable) != "" }

// Serve is the server, until the test that started it closes the connection on which it sends payloads. It gives the
// exit code.
func Serve() int {
	if err := serve(Kind(os.Getenv(serverVariable))); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// broadcaster has clients, and sends all of them what it is given.
type broadcaster interface {
	serve(net.Listener) error // until the listener is closed
	broadcast(payload []byte) // the next call may reuse payload
}

func serve(kind Kind) error {
	var b broadcaster
	switch kind {
	case Limit:
		b = newLimit()
	case GWS:
		b = newGWS()
	default:
		return fmt.Errorf("serve baseline: no kind %q", kind)
	}
	clients, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("serve baseline: %w", err)
	}
	payloads, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("serve baseline: %w", err)
	}
	fmt.Fprintf(os.Stderr, "%s clients=%s payloads=%s\n", kind, clients.Addr(), payloads.Addr())
	done := make(chan error, 2) // both may end
	go func() { done <- b.serve(clients) }()
	go func() { done <- feed(payloads, b.broadcast) }()
	return <-done
}

// feed takes one connection and hands on its payloads, each after its length in four bytes, to its end.
func feed(ln net.Listener, broadcast func([]byte)) error {
	conn, err := ln.Accept()
	if err != nil {
		return fmt.Errorf("take payloads: %w", err)
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	var head [4]byte
	buf := make([]byte, largest)
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("take payloads: %w", err)
		}
		n := binary.BigEndian.Uint32(head[:])
		if n > largest {
			return fmt.Errorf("take payloads: one of %d bytes", n)
		}
		if _, err := io.ReadFull(r, buf[:n]); err != nil {
			return fmt.Errorf("take payloads: %w", err)
		}
		broadcast(buf[:n])
	}
}
