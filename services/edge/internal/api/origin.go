package api

import (
	"fmt"
	"net/url"
	"strings"
)

// Origins are the web pages of other hosts that may use this edge, as in --origin: "https://app.example.com",
// "http://localhost:*" for any port, "*" for any page.
type Origins []string

// Validate names the first entry that can match nothing.
func (o Origins) Validate() error {
	for _, s := range o {
		if s == "*" {
			continue
		}
		u, err := url.Parse(strings.TrimSuffix(s, ":*"))
		if err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" {
			return fmt.Errorf("--origin %q: scheme://host, scheme://host:port, scheme://host:* or *", s)
		}
	}
	return nil
}

// Allow tells whether a page of this origin may use the edge that is reached as host. Programs send no origin.
func (o Origins) Allow(origin, host string) bool {
	if origin == "" {
		return true
	}
	if u, err := url.Parse(origin); err == nil && u.Host != "" && strings.EqualFold(u.Host, host) {
		return true
	}
	for _, s := range o {
		base, any := strings.CutSuffix(s, ":*")
		switch {
		case s == "*", strings.EqualFold(s, origin), any && strings.EqualFold(base, origin):
			return true
		case any:
			if port, ok := cutPrefixFold(origin, base+":"); ok && port != "" && strings.Trim(port, "0123456789") == "" {
				return true
			}
		}
	}
	return false
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}
