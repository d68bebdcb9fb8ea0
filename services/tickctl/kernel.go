package tickctl

import (
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

const (
	filesSpare   = 500      // an edge's for all that is no client
	clientMemory = 64 << 10 // of a machine for a client: an edge plans with half of it by 32 KB each
)

// kernel judges the settings of docs/TUNING.md for so many clients.
type kernel struct {
	root    fs.FS
	clients int
	all     []finding
}

func (k *kernel) check() []finding {
	k.files()
	k.memory()
	k.atLeast("fs.nr_open", 1, k.clients+filesSpare, "a process may open no more files than that")
	k.atLeast("fs.file-max", 1, 2*k.clients, "each socket of the machine is a file")
	k.atLeast("net.core.somaxconn", 1, 65535, "clients of another edge that dies come at once")
	if k.number("net.ipv4.tcp_syncookies", 1) == 0 {
		k.atLeast("net.ipv4.tcp_max_syn_backlog", 1, 65535, "with tcp_syncookies 0 it bounds half-open connections")
	}
	k.atLeast("net.core.netdev_max_backlog", 1, 16384, "acknowledgments of a tick come back all at once")
	k.atLeast("net.netfilter.nf_conntrack_max", 1, 4*k.clients, "a connection that is tracked takes an entry, and with a full table new ones are dropped")
	k.conntrackTimeout()
	k.ports()
	return k.all
}

func (k *kernel) add(f finding) { k.all = append(k.all, f) }

// text is a setting, with one space between its values; "" where there is none.
func (k *kernel) text(name string) string {
	p, err := fs.ReadFile(k.root, "proc/sys/"+strings.ReplaceAll(name, ".", "/"))
	if err != nil {
		return ""
	}
	return strings.Join(strings.Fields(string(p)), " ")
}

// number is a setting's n-th value, from 1; -1 where there is none. What is beyond an int is as much as can be.
func (k *kernel) number(name string, n int) int {
	fields := strings.Fields(k.text(name))
	if len(fields) < n {
		return -1
	}
	v, err := strconv.ParseUint(fields[n-1], 10, 64)
	if err != nil {
		return -1
	}
	return int(min(v, 1<<62))
}

// atLeast passes over what this kernel, or this network namespace, does not have.
func (k *kernel) atLeast(name string, n, want int, why string) {
	got := k.number(name, n)
	switch {
	case got < 0:
	case got < want:
		k.add(finding{name, warn, fmt.Sprint(got), fmt.Sprintf("sysctl -w %s=%d: %s", name, want, why)})
	default:
		k.add(finding{name, fine, fmt.Sprint(got), ""})
	}
}

func (k *kernel) conntrackTimeout() {
	const name, most = "net.netfilter.nf_conntrack_tcp_timeout_established", 3600
	got := k.number(name, 1)
	switch {
	case got < 0:
	case got > most:
		k.add(finding{name, warn, fmt.Sprint(got), fmt.Sprintf("sysctl -w %s=%d: entries of clients that vanished stay so many seconds", name, most)})
	default:
		k.add(finding{name, fine, fmt.Sprint(got), ""})
	}
}

// ports are those of a proxy towards an edge: an edge itself needs none.
func (k *kernel) ports() {
	const name = "net.ipv4.ip_local_port_range"
	from, to := k.number(name, 1), k.number(name, 2)
	switch have := to - from + 1; {
	case from < 0 || to < 0:
	case have < min(k.clients, 64000):
		k.add(finding{name, warn, k.text(name), fmt.Sprintf(`sysctl -w %s="1024 65535", if a proxy runs here: it has %d ports to one edge; an edge needs none`, name, have)})
	default:
		k.add(finding{name, fine, k.text(name), ""})
	}
}

// files is the hard limit of this process, to which Go raises the soft one.
func (k *kernel) files() {
	const name = "file limit"
	want := k.clients + filesSpare
	p, err := fs.ReadFile(k.root, "proc/self/limits")
	if err != nil {
		k.add(finding{name, warn, "not known: " + err.Error(), fmt.Sprintf("see that ulimit -Hn is %d or more", want)})
		return
	}
	for line := range strings.Lines(string(p)) {
		rest, ok := strings.CutPrefix(line, "Max open files")
		if !ok {
			continue
		}
		fields := strings.Fields(rest)
		if len(fields) < 2 {
			break
		}
		hard, err := strconv.Atoi(fields[1])
		switch {
		case err != nil: // unlimited
			k.add(finding{name, fine, fields[1], ""})
		case hard <= filesSpare:
			k.add(finding{name, fail, fields[1], fmt.Sprintf("raise it to %d (ulimit -Hn, LimitNOFILE=): with %d or fewer an edge does not start", want, filesSpare)})
		case hard < want:
			k.add(finding{name, warn, fields[1], fmt.Sprintf("raise it to %d (ulimit -Hn, LimitNOFILE=): a client is a file, and %d are spare", want, filesSpare)})
		default:
			k.add(finding{name, fine, fields[1], ""})
		}
		return
	}
	k.add(finding{name, warn, "not known", fmt.Sprintf("see that ulimit -Hn is %d or more", want)})
}

// memory is the machine's: what a container may use is not in here.
func (k *kernel) memory() {
	const name = "memory"
	p, err := fs.ReadFile(k.root, "proc/meminfo")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(p)) {
		var kilobytes int
		if n, err := fmt.Sscanf(line, "MemTotal: %d kB", &kilobytes); n != 1 || err != nil {
			continue
		}
		want := k.clients * clientMemory
		found := size(float64(kilobytes) * 1024)
		if kilobytes*1024 < want {
			k.add(finding{name, warn, found, fmt.Sprintf("%s for %d clients, or --max-conns: an edge takes only as many as half of the memory holds by 32 KB each", size(float64(want)), k.clients)})
			return
		}
		k.add(finding{name, fine, found, ""})
	}
}
