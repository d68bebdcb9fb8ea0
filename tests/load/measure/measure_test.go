//go:build linux

package measure

import (
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tickfan/tickfan/libs/natstest"
)

func TestMain(m *testing.M) { natstest.Main(m) }

const patience = 30 * time.Second

// A name with blanks and parentheses in it moves no field.
func TestCPUIsReadBehindTheName(t *testing.T) {
	const after = " R 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20 0 1 0 1142590 3133440"
	for _, name := range []string{"(edge)", "(a b)", "(a) R 1 2 (x)"} {
		got, err := cpuOf([]byte("77 " + name + after))
		if want := 1750 * time.Millisecond; err != nil || got != want {
			t.Errorf("name %s: %s, %v; want %s", name, got, err, want)
		}
	}
	for _, broken := range []string{"", "77 (edge", "77 (edge) R 1 2", "77 (edge) R 1 2 3 4 5 6 7 8 9 10 x y"} {
		if got, err := cpuOf([]byte(broken)); err == nil {
			t.Errorf("%q: %s, want an error", broken, got)
		}
	}
}

// What this process burns is seen, and agrees with what the kernel tells it itself.
func TestCPU(t *testing.T) {
	before, err := CPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	var after time.Duration
	natstest.Eventually(t, patience, func() bool {
		for range 1 << 20 {
			runtime.KeepAlive(t)
		}
		after, err = CPU(os.Getpid())
		return err != nil || after >= before+50*time.Millisecond
	}, "CPU time goes up")
	if err != nil {
		t.Fatal(err)
	}
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	if own := time.Duration(u.Utime.Nano() + u.Stime.Nano()); after > own+2*tick {
		t.Errorf("/proc says %s, getrusage later %s", after, own)
	}
	if _, err := CPU(1 << 30); err == nil {
		t.Error("the CPU time of a process that is not there was read")
	}
}

func TestRSS(t *testing.T) {
	const size = 64 << 20
	before, err := RSS(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	page, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < size; i += 4096 {
		page[i] = 1
	}
	after, err := RSS(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if grown := after - before; grown < size*9/10 || grown > size*2 {
		t.Errorf("%d bytes more after %d were touched", grown, size)
	}
	if err := unix.Munmap(page); err != nil {
		t.Fatal(err)
	}
}

// What a reader leaves lying is charged to the other end of the connection, and is seen there.
func TestEstablished(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	port := ln.Addr().(*net.TCPAddr).Port
	const conns = 3
	var servers []net.Conn
	for range conns {
		c, err := net.Dial("tcp4", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		s, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		servers = append(servers, s)
	}
	idle, err := Established(port)
	if err != nil {
		t.Fatal(err)
	}
	if idle.Count != conns {
		t.Fatalf("%d connections seen, %d are there", idle.Count, conns)
	}
	// More than both buffers take: the write ends when its deadline has passed, with all full.
	if err := servers[0].SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	n, err := servers[0].Write(make([]byte, 64<<20))
	if err == nil {
		t.Fatalf("%d bytes were taken", n)
	}
	full, err := Established(port)
	if err != nil {
		t.Fatal(err)
	}
	if full.Count != conns || full.Bytes < idle.Bytes+32<<10 {
		t.Errorf("%d bytes with a full buffer, %d before", full.Bytes, idle.Bytes)
	}
}

func TestDescribe(t *testing.T) {
	m, err := Describe(".")
	if err != nil {
		t.Fatal(err)
	}
	if m.CPU == "" || m.Cores < 1 || m.Memory < 64<<20 || m.Files < 64 || !strings.HasPrefix(m.Kernel, "Linux ") || !strings.HasPrefix(m.Go, "go") || m.Commit == "" || m.Busy == "" {
		t.Errorf("%+v", m)
	}
	free, err := Available()
	if err != nil || free <= 0 || free > m.Memory {
		t.Errorf("%d of %d bytes available, %v", free, m.Memory, err)
	}
	if got := commit(t.TempDir()); got != "unknown" {
		t.Errorf("commit outside of a repository: %s", got)
	}
}
