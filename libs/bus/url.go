package bus

import (
	"fmt"
	"net/url"
	"strings"
)

// checkURL finds what no waiting would mend, before the first attempt. nats.go takes a
// server without a scheme, and so does this.
func checkURL(list string) error {
	for server := range strings.SplitSeq(list, ",") {
		server = strings.TrimSpace(server)
		if !strings.Contains(server, "://") {
			server = "nats://" + server
		}
		// The error of url.Parse repeats its input, password and all, so it is not passed on.
		if u, err := url.Parse(server); err != nil || u.Hostname() == "" {
			return fmt.Errorf("read NATS servers %q: want a comma-separated list of nats://host:port (--nats)", redact(list))
		}
	}
	return nil
}

// redact hides what stands before the @ of each server: a name alone is a token.
func redact(list string) string {
	servers := strings.Split(list, ",")
	for i, s := range servers {
		scheme, rest, ok := strings.Cut(strings.TrimSpace(s), "://")
		if !ok {
			scheme, rest = "nats", scheme
		}
		if at := strings.LastIndexByte(rest, '@'); at >= 0 {
			rest = "xxxxx" + rest[at:]
		}
		servers[i] = scheme + "://" + rest
	}
	return strings.Join(servers, ",")
}
