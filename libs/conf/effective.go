package conf

import (
	"fmt"
	"log/slog"
	"net/url"
	"reflect"
	"regexp"
	"strings"
)

const struck = "xxxxx"

// Effective is the configuration as it came out of defaults, environment and flags, by the
// names of the flags, for one line of the log. Secrets are struck out: fields tagged
// `secret:""`, and in any text the password or token of a URL
// (nats://user:xxxxx@host, nats://xxxxx@host, wss://host/feed?token=xxxxx).
func Effective(cfg any) []slog.Attr {
	var attrs []slog.Attr
	for _, f := range flags(cfg) {
		attrs = append(attrs, slog.Attr{Key: f.name, Value: f.effective()})
	}
	return attrs
}

func (f flag) effective() slog.Value {
	if f.secret {
		if f.value.IsZero() {
			return slog.StringValue("")
		}
		return slog.StringValue(struck)
	}
	if s, ok := f.value.Interface().(fmt.Stringer); ok {
		return slog.StringValue(Strike(s.String())) // time.Duration: 2ms in JSON, too
	}
	switch f.value.Kind() {
	case reflect.Bool:
		return slog.BoolValue(f.value.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return slog.Int64Value(f.value.Int())
	case reflect.Slice:
		items := make([]string, 0, f.value.Len())
		for i := range f.value.Len() {
			items = append(items, Strike(fmt.Sprint(f.value.Index(i).Interface())))
		}
		return slog.StringValue(strings.Join(items, ","))
	default:
		return slog.StringValue(Strike(fmt.Sprint(f.value.Interface())))
	}
}

// Strike takes the secrets out of a value that may be a comma-separated list of URLs.
func Strike(list string) string {
	items := strings.Split(list, ",")
	for i, item := range items {
		items[i] = strikeQuery(strikeUser(item))
	}
	return strings.Join(items, ",")
}

// strikeUser keeps a user's name and hides the rest of what stands before the @. A name
// alone is hidden as well, for NATS takes it as a token. What is no proper URL is struck
// rather more than too little.
func strikeUser(item string) string {
	scheme, rest, ok := strings.Cut(item, "://")
	if ok {
		if u, err := url.Parse(item); err == nil && u.User == nil {
			return item // an @ in a path is no secret
		}
		scheme += "://"
	} else {
		scheme, rest = "", item
	}
	at := strings.LastIndexByte(rest, '@')
	if at < 0 {
		return item
	}
	user, _, named := strings.Cut(rest[:at], ":")
	if !named {
		return scheme + struck + rest[at:]
	}
	return scheme + user + ":" + struck + rest[at:]
}

var secretQuery = regexp.MustCompile(`(?i)([?&][^=&]*(?:token|secret|passw|key|auth|signature)[^=&]*=)[^&#]*`)

func strikeQuery(item string) string { return secretQuery.ReplaceAllString(item, "${1}"+struck) }
