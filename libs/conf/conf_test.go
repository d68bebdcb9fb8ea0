package conf

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

type edgeOptions struct {
	Listen   string        `name:"listen" default:":8080" help:"Where clients connect."`
	Source   []string      `name:"source" help:"A feed; may be repeated."`
	WriteGap time.Duration `default:"20ms" help:"Least time between two writes."`
	Copies2  int           `name:"copies2" default:"2" help:"How many." placeholder:"N"`
	Key      string        `name:"key" secret:"" help:"A secret."`
}

func (o *edgeOptions) Validate() error {
	var faults []error
	if o.Copies2 < 1 {
		faults = append(faults, errors.New("--copies2: at least 1"))
	}
	if o.WriteGap < 0 {
		faults = append(faults, errors.New("--write-gap: not negative"))
	}
	return errors.Join(faults...)
}

type EdgeOptions = edgeOptions

type edgeConfig struct {
	Common      `embed:""`
	EdgeOptions `embed:""`
}

type RouterOptions struct {
	Copies int `name:"copies" default:"2" help:"Routers of a bucket."`
}

type devConfig struct {
	Common `embed:""`
	Edge   edgeOptions   `embed:""`
	Router RouterOptions `embed:"" prefix:"router-"`
}

// clean takes away the TICKFAN_ variables of whoever runs the tests.
func clean(t *testing.T) {
	for _, entry := range os.Environ() {
		if name, value, _ := strings.Cut(entry, "="); strings.HasPrefix(name, envPrefix) {
			t.Setenv(name, value) // put back at the end
			os.Unsetenv(name)
		}
	}
}

func TestDefaults(t *testing.T) {
	clean(t)
	var c edgeConfig
	cmd, err := Parse("edge", "", &c, nil, map[string]string{"ops": ":9091"})
	if err != nil || cmd != CommandRun {
		t.Fatal(cmd, err)
	}
	want := edgeConfig{
		Common:      Common{NATS: "nats://127.0.0.1:4222", Region: "local", Ops: ":9091", LogLevel: "info", LogFormat: "text"},
		EdgeOptions: edgeOptions{Listen: ":8080", WriteGap: 20 * time.Millisecond, Copies2: 2},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("%+v, want %+v", c, want)
	}
}

func TestFlagsWinOverEnvironment(t *testing.T) {
	clean(t)
	t.Setenv("TICKFAN_LISTEN", ":1")
	t.Setenv("TICKFAN_WRITE_GAP", "5ms")
	t.Setenv("TICKFAN_COPIES2", "3")
	t.Setenv("TICKFAN_SOURCE", "a,b")
	t.Setenv("TICKFAN_LOG_LEVEL", "debug")
	t.Setenv("TICKFAN_PPROF", "true")
	var c edgeConfig
	if _, err := Parse("edge", "", &c, []string{"--listen", ":2"}, nil); err != nil {
		t.Fatal(err)
	}
	if c.Listen != ":2" || c.WriteGap != 5*time.Millisecond || c.Copies2 != 3 || c.LogLevel != "debug" || !c.Pprof {
		t.Errorf("%+v", c)
	}
	if !slices.Equal(c.Source, []string{"a", "b"}) {
		t.Errorf("source %q", c.Source)
	}
	if _, err := Parse("edge", "", &c, []string{"run", "--source", "c", "--source=d"}, nil); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.Source, []string{"c", "d"}) {
		t.Errorf("repeated source %q", c.Source)
	}
}

func TestCommands(t *testing.T) {
	clean(t)
	for args, want := range map[string]string{
		"": CommandRun, "run": CommandRun, "--pprof": CommandRun,
		"health": CommandHealth, "health --ops :9091": CommandHealth, "--ops :9091 health": CommandHealth,
	} {
		var c edgeConfig
		cmd, err := Parse("edge", "", &c, strings.Fields(args), nil)
		if err != nil || cmd != want {
			t.Errorf("%q: %q, %v", args, cmd, err)
		}
	}
	for _, args := range []string{"bogus", "run health", "--no-such", "--copies2 x", "--listen"} {
		var c edgeConfig
		if cmd, err := Parse("edge", "", &c, strings.Fields(args), nil); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %q, %v", args, cmd, err)
		}
	}
}

func TestHelpShowsFlagsDefaultsAndVariables(t *testing.T) {
	clean(t)
	t.Setenv("COLUMNS", "200")
	var out bytes.Buffer
	var c devConfig
	_, err := parse("dev", "All in one.", &c, []string{"--help"}, nil, &out)
	if !errors.Is(err, ErrHelp) {
		t.Fatal(err)
	}
	// Lines are wrapped where it suits kong.
	help := strings.Join(strings.Fields(out.String()), " ")
	for _, f := range flags(&c) {
		if !strings.Contains(help, "--"+f.name) || !strings.Contains(help, "$"+envName(f.name)) {
			t.Errorf("help lacks --%s with $%s", f.name, envName(f.name))
		}
	}
	for _, want := range []string{
		"All in one.", `--listen=":8080"`, "--router-copies=2", "--copies2=N", "Default: 2.",
		`--nats="nats://127.0.0.1:4222"`, `--ops=":9090"`, "health", "$TICKFAN_ROUTER_COPIES",
	} {
		if !strings.Contains(help, want) {
			t.Errorf("help lacks %s", want)
		}
	}
	if t.Failed() {
		t.Log(out.String())
	}
}

func TestAllFaultsAtOnce(t *testing.T) {
	clean(t)
	t.Setenv("TICKFAN_LISTN", ":1")
	t.Setenv("TICKFAN_COLOUR", "red")
	var c edgeConfig
	_, err := Parse("edge", "", &c, strings.Fields("--nats= --region EU! --ops 9091 --log-level loud --log-format xml --copies2 0 --write-gap=-1s"), nil)
	if err == nil {
		t.Fatal("no error")
	}
	lines := strings.Split(err.Error(), "\n")
	for i, prefix := range []string{
		"--nats: ", "--region \"EU!\": ", "--ops ", "--log-level ", "--log-format ", "--copies2: ", "--write-gap: ",
		"TICKFAN_COLOUR: no such setting", "TICKFAN_LISTN: no such setting, did you mean TICKFAN_LISTEN?",
	} {
		if i >= len(lines) || !strings.HasPrefix(lines[i], prefix) {
			t.Fatalf("fault %d does not begin with %q:\n%v", i, prefix, err)
		}
	}
	if len(lines) != 9 {
		t.Errorf("%d faults:\n%v", len(lines), err)
	}
}

// A part's Validate is promoted to a Config with only one such part, and must not be told twice.
func TestFaultsAreToldOnce(t *testing.T) {
	clean(t)
	var c struct {
		Common `embed:""`
	}
	_, err := Parse("x", "", &c, []string{"--log-level", "loud"}, nil)
	if err == nil || strings.Count(err.Error(), "loud") != 1 {
		t.Error(err)
	}
}

func TestUnknownEnv(t *testing.T) {
	var c edgeConfig
	known := []string{
		"PATH=/bin", "TICKFAN_LISTEN=x", "TICKFAN_WRITE_GAP=1", "TICKFAN_NATS=x",
		// What Kubernetes adds for Services named tickfan and tickfan-edge.
		"TICKFAN_SERVICE_HOST=10.0.0.1", "TICKFAN_EDGE_SERVICE_PORT=80", "TICKFAN_EDGE_SERVICE_PORT_HTTP=80",
		"TICKFAN_EDGE_PORT=tcp://10.0.0.1:80", "TICKFAN_EDGE_PORT_80_TCP=tcp://10.0.0.1:80",
		"TICKFAN_EDGE_PORT_80_TCP_ADDR=10.0.0.1", "TICKFAN_EDGE_PORT_80_TCP_PROTO=tcp", "TICKFAN_EDGE_PORT_53_UDP_PORT=53",
	}
	for _, name := range Elsewhere() {
		known = append(known, name+"=x")
	}
	if err := UnknownEnv(known, &c); err != nil {
		t.Error(err)
	}
	for entry, want := range map[string]string{
		"TICKFAN_=x":               "TICKFAN_: no such setting",
		"TICKFAN_LISTEN_ON=:80":    "TICKFAN_LISTEN_ON: no such setting",
		"TICKFAN_COPPIES2=1":       "TICKFAN_COPPIES2: no such setting, did you mean TICKFAN_COPIES2?",
		"TICKFAN_MAX_SYMBOL=1":     "TICKFAN_MAX_SYMBOL: no such setting, did you mean TICKFAN_MAX_SYMBOLS?", // another service's
		"TICKFAN_COPIES3=1":        "TICKFAN_COPIES3: no such setting, did you mean TICKFAN_COPIES2?",        // as near as another's TICKFAN_COPIES
		"TICKFAN_EDGE_PORT=8080":   "TICKFAN_EDGE_PORT: no such setting",                                     // no Service of Kubernetes: tcp://
		"tickfan_listen=x,PATH=/b": "",
	} {
		got := ""
		if err := UnknownEnv([]string{entry}, &c); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", entry, got, want)
		}
	}
}

func TestEnvNamesEveryFlagOnce(t *testing.T) {
	names := Env(&devConfig{})
	if !slices.Contains(names, "TICKFAN_ROUTER_COPIES") || !slices.Contains(names, "TICKFAN_WRITE_GAP") || !slices.Contains(names, "TICKFAN_LOG_LEVEL") {
		t.Error(names)
	}
	slices.Sort(names)
	if n := len(names); len(slices.Compact(names)) != n {
		t.Error("a name twice")
	}
}

func TestSettings(t *testing.T) {
	all, err := Settings("dev", &devConfig{}, map[string]string{"ops": ":9091"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range all {
		names = append(names, s.Variable)
	}
	if !slices.Equal(names, Env(&devConfig{})) {
		t.Errorf("%q, want one for each of %q", names, Env(&devConfig{}))
	}
	for _, want := range []Setting{
		{"dev", "--ops", "TICKFAN_OPS", ":9091", "Where health, readiness and metrics are served."},
		{"dev", "--router-copies", "TICKFAN_ROUTER_COPIES", "2", "Routers of a bucket."},
		{"dev", "--source", "TICKFAN_SOURCE", "", "A feed; may be repeated."},
	} {
		if !slices.Contains(all, want) {
			t.Errorf("no %+v in %+v", want, all)
		}
	}
}

func TestEffective(t *testing.T) {
	clean(t)
	var c edgeConfig
	_, err := Parse("edge", "", &c, []string{"--nats", "nats://u:pw1@a:1,nats://pw2@b:2", "--key", "pw3", "--source", "wss://x/feed?token=pw4&b=1", "--source", "demo"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Info("starting", "config", slog.GroupValue(Effective(&c)...))
	line := out.String()
	for _, want := range []string{
		`config.nats=nats://u:xxxxx@a:1,nats://xxxxx@b:2`, "config.region=local", "config.pprof=false", "config.copies2=2",
		"config.write-gap=20ms", `config.source="wss://x/feed?token=xxxxx&b=1,demo"`, "config.key=xxxxx",
	} {
		if !strings.Contains(line, want) {
			t.Errorf("no %s in %s", want, line)
		}
	}
	if strings.Contains(line, "pw") {
		t.Errorf("a secret in %s", line)
	}
}

func TestStrike(t *testing.T) {
	for in, want := range map[string]string{
		"":                               "",
		"nats://h:4222":                  "nats://h:4222",
		"nats://u:p@h:4222":              "nats://u:xxxxx@h:4222",
		"nats://t@h":                     "nats://xxxxx@h",
		"u:p@h:4222":                     "u:xxxxx@h:4222",
		"nats://u:p@ss@h":                "nats://u:xxxxx@h",
		"nats://u:p/w@h:4222":            "nats://u:xxxxx@h:4222",
		"nats://a:1,nats://u:p@b:2":      "nats://a:1,nats://u:xxxxx@b:2",
		"https://x/react@18":             "https://x/react@18",
		"https://x/?api_key=a&apikey=b":  "https://x/?api_key=xxxxx&apikey=xxxxx",
		"wss://x/?Signature=a&symbol=B":  "wss://x/?Signature=xxxxx&symbol=B",
		"coinbase:BTC-USD,binance:ETH":   "coinbase:BTC-USD,binance:ETH",
		"http://u:p@x/?access_token=abc": "http://u:xxxxx@x/?access_token=xxxxx",
	} {
		if got := Strike(in); got != want {
			t.Errorf("Strike(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestEdits(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"LISTN", "LISTEN", 1}, {"REGOIN", "REGION", 2}, {"kitten", "sitting", 3}} {
		if got := edits(c.a, c.b); got != c.want {
			t.Errorf("edits(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
