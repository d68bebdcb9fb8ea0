package tickctl

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/tickfan/tickfan/libs/natsd"
	"github.com/tickfan/tickfan/libs/natstest"
)

// machine is a Linux that is tuned for 100,000 clients, but for what changes name by path.
func machine(changes map[string]string) fstest.MapFS {
	files := map[string]string{
		"proc/self/limits":                                            "Limit                     Soft Limit           Hard Limit           Units\nMax open files            1024                 200000               files\nMax locked memory         65536                65536                bytes\n",
		"proc/meminfo":                                                "MemTotal:       16384000 kB\nMemFree: 1 kB\n",
		"proc/sys/fs/nr_open":                                         "1048576\n",
		"proc/sys/fs/file-max":                                        "9223372036854775807\n",
		"proc/sys/net/core/somaxconn":                                 "65535\n",
		"proc/sys/net/core/netdev_max_backlog":                        "16384\n",
		"proc/sys/net/ipv4/tcp_syncookies":                            "1\n",
		"proc/sys/net/ipv4/tcp_max_syn_backlog":                       "256\n",
		"proc/sys/net/ipv4/ip_local_port_range":                       "1024\t65535\n",
		"proc/sys/net/netfilter/nf_conntrack_max":                     "400000\n",
		"proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established": "3600\n",
	}
	maps.Copy(files, changes)
	fsys := fstest.MapFS{}
	for name, text := range files {
		if text != "" {
			fsys[name] = &fstest.MapFile{Data: []byte(text)}
		}
	}
	return fsys
}

func TestMachine(t *testing.T) {
	all := checkMachine(machine(nil), 100000)
	for _, f := range all {
		if f.Result != fine || f.Change != "" {
			t.Errorf("%+v", f)
		}
	}
	if len(all) != 9 {
		t.Errorf("%d checks: %+v", len(all), all)
	}
	const limits = "Max open files            1024  %s  files\n"
	for name, test := range map[string]struct {
		path, text string
		clients    int
		result     verdict
		check      string
		change     string
	}{
		"files":           {"proc/self/limits", fmt.Sprintf(limits, "4096"), 100000, warn, "file limit", "raise it to 100500"},
		"hardly files":    {"proc/self/limits", fmt.Sprintf(limits, "500"), 100000, fail, "file limit", "an edge does not start"},
		"no limits":       {"proc/self/limits", "", 100000, warn, "file limit", "ulimit -Hn is 100500"},
		"odd limits":      {"proc/self/limits", "Max open files\n", 100000, warn, "file limit", "ulimit -Hn"},
		"memory":          {"proc/meminfo", "MemTotal: 2048000 kB\n", 100000, warn, "memory", "6.104 GB for 100000 clients"},
		"nr_open":         {"proc/sys/fs/nr_open", "1048576", 1100000, warn, "fs.nr_open", "sysctl -w fs.nr_open=1100500: "},
		"somaxconn":       {"proc/sys/net/core/somaxconn", "4096", 100000, warn, "net.core.somaxconn", "sysctl -w net.core.somaxconn=65535: "},
		"no cookies":      {"proc/sys/net/ipv4/tcp_syncookies", "0", 100000, warn, "net.ipv4.tcp_max_syn_backlog", "sysctl -w net.ipv4.tcp_max_syn_backlog=65535: "},
		"backlog":         {"proc/sys/net/core/netdev_max_backlog", "1000", 100000, warn, "net.core.netdev_max_backlog", "=16384: "},
		"conntrack":       {"proc/sys/net/netfilter/nf_conntrack_max", "131072", 100000, warn, "net.netfilter.nf_conntrack_max", "=400000: "},
		"conntrack, long": {"proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established", "432000", 100000, warn, "net.netfilter.nf_conntrack_tcp_timeout_established", "=3600: "},
		"ports":           {"proc/sys/net/ipv4/ip_local_port_range", "32768 60999", 100000, warn, "net.ipv4.ip_local_port_range", `="1024 65535"`},
	} {
		got := checkMachine(machine(map[string]string{test.path: test.text}), test.clients)
		i := slices.IndexFunc(got, func(f finding) bool { return f.Check == test.check })
		if i < 0 || got[i].Result != test.result || !strings.Contains(got[i].Change, test.change) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	// What a kernel or a namespace does not have is no fault.
	if got := checkMachine(machine(map[string]string{"proc/sys/net/netfilter/nf_conntrack_max": "", "proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established": ""}), 100000); len(got) != 7 {
		t.Errorf("%+v", got)
	}
	if got := checkMachine(fstest.MapFS{}, 1); len(got) != 1 || got[0].Result != warn {
		t.Errorf("%+v", got)
	}
}

// checks are those of NATS and the clocks, by name.
func checks(t *testing.T, url string) (code int, all map[string]finding) {
	t.Helper()
	code, out, err := run(t, "", "doctor", "--json", "--clients", "1", "--nats", url)
	var report struct{ Checks []finding }
	if json.Unmarshal([]byte(out), &report) != nil {
		t.Fatalf("code %d, err %q, out %s", code, err, out)
	}
	all = map[string]finding{}
	for _, f := range report.Checks {
		all[f.Check] = f
	}
	return code, all
}

func TestDoctor(t *testing.T) {
	local := newRegion(t, "local")
	code, all := checks(t, local.URL())
	for _, name := range []string{"NATS", "JetStream", "clock of NATS", "clock of ingest"} {
		if all[name].Result != fine {
			t.Errorf("%s: %+v", name, all[name])
		}
	}
	if code != exitDone || !strings.Contains(all["JetStream"].Found, "domain local") || !strings.Contains(all["NATS"].Found, local.URL()) {
		t.Errorf("code %d, %+v", code, all)
	}
	local.change(func() { local.ahead = -5 * time.Second })
	if code, all = checks(t, local.URL()); code != exitDone || all["clock of ingest"].Result != warn || !strings.Contains(all["clock of ingest"].Found, "this one is 5s ahead") {
		t.Errorf("code %d, %+v", code, all["clock of ingest"])
	}
	local.change(func() { local.ahead = 2 * time.Minute })
	if code, all = checks(t, local.URL()); code != exitFault || all["clock of ingest"].Result != fail || !strings.Contains(all["clock of ingest"].Found, "behind") {
		t.Errorf("code %d, %+v", code, all["clock of ingest"])
	}
	local.change(func() { local.beat.Epoch = 0 })
	if code, all = checks(t, local.URL()); code != exitDone || all["clock of ingest"].Result != warn || !strings.Contains(all["clock of ingest"].Found, "no beat") {
		t.Errorf("code %d, %+v", code, all["clock of ingest"])
	}
}

func TestDoctorWithoutJetStream(t *testing.T) {
	server := natstest.StartWith(t, natsd.Options{})
	code, all := checks(t, server.URL())
	if code != exitFault || all["JetStream"] != (finding{"JetStream", fail, "off", "start nats-server with -js"}) {
		t.Errorf("code %d, %+v", code, all)
	}
	code, out, err := run(t, "", "doctor", "--nats", server.URL())
	if code != exitFault || err != "tickctl: JetStream: start nats-server with -js\n" ||
		!strings.Contains(out, "\nfail  JetStream ") || !strings.Contains(out, "\n      change: start nats-server with -js\n") {
		t.Errorf("code %d, err %q, out\n%s", code, err, out)
	}
	server.Stop()
	code, all = checks(t, server.URL())
	if code != exitFault || all["NATS"].Result != fail || !strings.Contains(all["NATS"].Found, "is nats-server or dev running there?") || len(all) < 2 {
		t.Errorf("code %d, %+v", code, all)
	}
	if code, _, err := run(t, "", "doctor", "--clients", "0"); code != exitFault || !strings.Contains(err, "1 or more") {
		t.Errorf("code %d, err %q", code, err)
	}
}

func TestOlder(t *testing.T) {
	for _, test := range []struct {
		version, than string
		want          bool
	}{
		{"2.10.29", "2.11.0", true}, {"2.11.0", "2.11.0", false}, {"2.15.2", "2.11.0", false}, {"3.0.0", "2.15.2", false}, {"1.99.99", "2.0.0", true},
		{"2.15.2-RC.1", "2.15.2", false}, {"v2.9.1", "2.11.0", true}, {"odd", "2.11.0", false}, {"", "2.11.0", false},
	} {
		if got := older(test.version, test.than); got != test.want {
			t.Errorf("%s older than %s: %v", test.version, test.than, got)
		}
	}
}
