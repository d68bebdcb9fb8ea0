//go:build linux

package measure

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Machine is where a figure was had, and of which code.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Memory int64  `json:"memory"` // bytes
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
	Commit string `json:"commit"` // with "+" if the work tree differed from it; "unknown" outside of a repository
	Files  int    `json:"files"`  // file descriptors that a process may have
	Busy   string `json:"busy"`   // load average of the last minute: what else ran

	// Tracked says that the kernel tracks loopback connections, for a firewall or NAT (Docker's among them, also after it was
	// stopped): each segment costs more then.
	Tracked bool `json:"tracked,omitempty"`
}

// Describe reads all of it. dir lies in the repository.
func Describe(dir string) (Machine, error) {
	m := Machine{CPU: "unknown", Cores: runtime.NumCPU(), Go: runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH, Commit: commit(dir)}
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		m.CPU = modelName(info)
	}
	mem, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return m, fmt.Errorf("describe machine: %w", err)
	}
	if m.Memory, err = kilobytes(mem, "MemTotal:"); err != nil {
		return m, fmt.Errorf("describe machine: %w", err)
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return m, fmt.Errorf("describe machine: %w", err)
	}
	m.Busy, _, _ = strings.Cut(string(load), " ")
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return m, fmt.Errorf("describe machine: uname: %w", err)
	}
	m.Kernel = unix.ByteSliceToString(name.Sysname[:]) + " " + unix.ByteSliceToString(name.Release[:])
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return m, fmt.Errorf("describe machine: getrlimit: %w", err)
	}
	m.Files = int(min(files.Cur, 1<<30))
	if m.Tracked, err = tracked(); err != nil {
		return m, fmt.Errorf("describe machine: %w", err)
	}
	return m, nil
}

// tracked makes a connection and looks whether it is counted. The count alone says little: it also has what was tracked
// until a moment ago.
func tracked() (bool, error) {
	count := func() int {
		b, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_count")
		if err != nil { // a kernel that has no connection tracking
			return 0
		}
		n, _ := strconv.Atoi(strings.TrimSpace(string(b)))
		return n
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return false, err
	}
	defer func() { _ = l.Close() }()
	const some = 10 // others may end at the same time
	before := count()
	for range some {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return false, err
		}
		defer func() { _ = c.Close() }()
	}
	return count() >= before+some/2, nil
}

// Available is the memory that can be had without swapping, in bytes.
func Available() (int64, error) {
	mem, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, fmt.Errorf("read available memory: %w", err)
	}
	return kilobytes(mem, "MemAvailable:")
}

// modelName is that of the first processor; not every architecture gives one.
func modelName(cpuinfo []byte) string {
	for line := range bytes.Lines(cpuinfo) {
		if name, value, ok := strings.Cut(string(line), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func commit(dir string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	git := func(args ...string) (string, error) {
		out, err := exec.CommandContext(ctx, "git", append([]string{"-C", dir}, args...)...).Output()
		return strings.TrimSpace(string(out)), err
	}
	hash, err := git("rev-parse", "--short=12", "HEAD")
	if err != nil {
		return "unknown"
	}
	if changed, err := git("status", "--porcelain", "--untracked-files=no"); err != nil || changed != "" {
		return hash + "+"
	}
	return hash
}
