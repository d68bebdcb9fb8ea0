package conf

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
)

// Common is the configuration that every service has. Its defaults for --nats, --region, --ops
// and --log-level come from the variables of those names (log_level) given to [Parse].
type Common struct {
	NATS      string `name:"nats" default:"${nats}" help:"NATS servers, comma-separated."`
	Region    string `name:"region" default:"${region}" help:"Region this process serves: 1 to 32 of a-z 0-9 -."`
	Home      string `name:"home" help:"Region where prices are stamped, for routers and registries of another one. Default: this process's region."`
	Ops       string `name:"ops" default:"${ops}" help:"Where health, readiness and metrics are served."`
	LogLevel  string `name:"log-level" default:"${log_level}" help:"Least level that is logged: debug, info, warn or error."`
	LogFormat string `name:"log-format" default:"text" help:"Form of the log: text or json."`
	Pprof     bool   `name:"pprof" help:"Serve /debug/pprof/ on the ops port."`
}

// CommonConfig gives who holds any service's Config its common part.
func (c *Common) CommonConfig() *Common { return c }

// Away is the home region for a process of another one, and empty at home.
func (c *Common) Away() string {
	if c.Home == c.Region {
		return ""
	}
	return c.Home
}

var regionShape = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// Validate reports every fault at once, each named by its flag.
func (c *Common) Validate() error {
	var faults []error
	if strings.TrimSpace(c.NATS) == "" {
		faults = append(faults, errors.New("--nats: name at least one server, e.g. nats://127.0.0.1:4222"))
	}
	if !regionShape.MatchString(c.Region) {
		faults = append(faults, fmt.Errorf("--region %q: 1 to 32 of a-z 0-9 -", c.Region))
	}
	if c.Home != "" && !regionShape.MatchString(c.Home) {
		faults = append(faults, fmt.Errorf("--home %q: 1 to 32 of a-z 0-9 -", c.Home))
	}
	if _, _, err := net.SplitHostPort(c.Ops); err != nil {
		faults = append(faults, fmt.Errorf("--ops %q: must be host:port, e.g. 127.0.0.1:9090", c.Ops))
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.LogLevel) {
		faults = append(faults, fmt.Errorf("--log-level %q: one of debug, info, warn, error", c.LogLevel))
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		faults = append(faults, fmt.Errorf("--log-format %q: one of text, json", c.LogFormat))
	}
	return errors.Join(faults...)
}
