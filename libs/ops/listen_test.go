package ops_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/tickfan/tickfan/libs/ops"
)

func TestListenOnTakenPort(t *testing.T) {
	first, err := ops.Listen("--listen", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	addr := first.Addr().String()
	_, port, _ := net.SplitHostPort(addr)

	_, err = ops.Listen("--listen", addr)
	var taken *ops.PortTakenError
	if !errors.As(err, &taken) {
		t.Fatalf("no PortTakenError: %v", err)
	}
	want := fmt.Sprintf("listen on %s: port %s is taken; choose another with --listen, e.g. --listen %s", addr, port, taken.Example)
	if err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
	second, err := ops.Listen("--listen", taken.Example)
	if err != nil {
		t.Fatalf("the example is not free: %v", err)
	}
	second.Close()
}

// An example must not narrow every interface down to one.
func TestExampleKeepsHost(t *testing.T) {
	first, err := ops.Listen("--listen", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	_, port, _ := net.SplitHostPort(first.Addr().String())
	_, err = ops.Listen("--listen", ":"+port)
	var taken *ops.PortTakenError
	if !errors.As(err, &taken) || !strings.HasPrefix(taken.Example, ":") {
		t.Errorf("%v", err)
	}
}

func TestListenNamesFlag(t *testing.T) {
	for _, addr := range []string{"8080", "", "127.0.0.1:notaport", "192.0.2.1:0"} {
		_, err := ops.Listen("--listen", addr)
		if err == nil || !strings.Contains(err.Error(), "--listen") || strings.Contains(err.Error(), "\n") {
			t.Errorf("Listen(%q): %v", addr, err)
		}
	}
}
