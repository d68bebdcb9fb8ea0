package conf

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

const envPrefix = "TICKFAN_"

// envName is the variable of a flag: log-level is TICKFAN_LOG_LEVEL.
func envName(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// Env lists the environment variables that fill cfg, a pointer to a service's Config.
func Env(cfg any) []string {
	var names []string
	for _, f := range flags(cfg) {
		names = append(names, envName(f.name))
	}
	return names
}

// Elsewhere lists variables that some service or tool of Tickfan reads though another does
// not, so that one environment may be given to all of them. Those of [Common] need not be
// here; that nothing else is missing is a test of tests/arch.
func Elsewhere() []string {
	return []string{
		"TICKFAN_ADVERTISE", "TICKFAN_COINBASE_PRODUCTS", "TICKFAN_COINBASE_URL", "TICKFAN_COMPRESSION", "TICKFAN_COPIES",
		"TICKFAN_DATA", "TICKFAN_DRAIN_TIMEOUT", "TICKFAN_FLUSH", "TICKFAN_GENERATOR_SEED", "TICKFAN_HISTORY", "TICKFAN_IDLE",
		"TICKFAN_LISTEN", "TICKFAN_MAX_CONNS", "TICKFAN_MAX_SYMBOLS", "TICKFAN_NAME", "TICKFAN_NATS_PORT",
		"TICKFAN_ORIGIN", "TICKFAN_READER", "TICKFAN_REPLICAS", "TICKFAN_SOURCE", "TICKFAN_TLS_CERT", "TICKFAN_TLS_KEY",
		"TICKFAN_WRITE_GAP",
	}
}

// UnknownEnv reports each TICKFAN_ variable of environ ("NAME=value", as of os.Environ)
// that neither cfg nor anything else of Tickfan reads: a misspelt setting must not be
// without effect in silence. The variables that Kubernetes makes up for a Service named
// tickfan or tickfan-… are no settings and pass.
func UnknownEnv(environ []string, cfg any) error {
	known := append(Env(cfg), Elsewhere()...)
	var faults []error
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, envPrefix) || slices.Contains(known, name) || serviceLink(name, value) {
			continue
		}
		fault := "no such setting"
		if near := nearest(name, known); near != "" {
			fault += ", did you mean " + near + "?"
		}
		faults = append(faults, fmt.Errorf("%s: %s", name, fault))
	}
	slices.SortFunc(faults, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(faults...)
}

// serviceLink tells a variable that Kubernetes injects for each Service of a namespace:
// …_SERVICE_HOST, …_SERVICE_PORT, …_SERVICE_PORT_<name>, …_PORT=tcp://…, …_PORT_8080_TCP….
func serviceLink(name, value string) bool {
	return strings.HasSuffix(name, "_SERVICE_HOST") || strings.Contains(name, "_SERVICE_PORT") ||
		strings.HasPrefix(value, "tcp://") && strings.Contains(name, "_PORT") ||
		strings.Contains(name, "_PORT_") && (strings.Contains(name, "_TCP") || strings.Contains(name, "_UDP"))
}

// nearest is the name that differs from the given one by the fewest edits, at most two; of several the first.
func nearest(name string, names []string) string {
	best, found := 3, ""
	for _, n := range names {
		if d := edits(name, n); d < best {
			best, found = d, n
		}
	}
	return found
}

// edits is the distance of Levenshtein between two names.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
