package ops

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
)

// PortTakenError says that another process listens where this one was told to. Its text
// is one line with the way out:
//
//	listen on :8080: port 8080 is taken; choose another with --listen, e.g. --listen :8081
type PortTakenError struct {
	Addr    string // host:port as it was asked for
	Flag    string // the flag that chose it, e.g. "--listen"
	Example string // a value for Flag that was free a moment ago; "" when none was found
}

func (e *PortTakenError) Error() string {
	_, port, _ := net.SplitHostPort(e.Addr)
	s := fmt.Sprintf("listen on %s: port %s is taken; choose another with %s", e.Addr, port, e.Flag)
	if e.Example != "" {
		s += fmt.Sprintf(", e.g. %s %s", e.Flag, e.Example)
	}
	return s
}

// Listen opens a TCP listener on addr (host:port; an empty host is every interface, port 0
// any free one), which the given flag, e.g. "--listen", chose. A taken port gives a
// [*PortTakenError]; every error is one line and names the flag.
func Listen(flag, addr string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %s wants host:port, e.g. %s 127.0.0.1:8080: %w", addr, flag, flag, err)
	}
	ln, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, &PortTakenError{Addr: addr, Flag: flag, Example: freeAddr(host, port)}
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s (%s): %w", addr, flag, err)
	}
	return ln, nil
}

// freeAddr finds the next port above the taken one that can be had on the same host, by
// having it for a moment.
func freeAddr(host, taken string) string {
	n, err := net.LookupPort("tcp", taken)
	if err != nil {
		return ""
	}
	for port := n + 1; port <= min(n+100, 65535); port++ {
		addr := net.JoinHostPort(host, strconv.Itoa(port))
		if ln, err := net.Listen("tcp", addr); err == nil {
			_ = ln.Close()
			return addr
		}
	}
	return ""
}
