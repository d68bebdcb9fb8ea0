package daemon

import (
	"io"
	"log/slog"

	"github.com/tickfan/tickfan/libs/conf"
)

// newLogger writes what the configuration asks for, in its form, with the service's name.
func newLogger(service string, c *conf.Common, w io.Writer) *slog.Logger {
	var level slog.Level
	// conf refuses any other name; info, the zero value, is the right one if it did not.
	_ = level.UnmarshalText([]byte(c.LogLevel))
	options := &slog.HandlerOptions{Level: level}
	var h slog.Handler = slog.NewTextHandler(w, options)
	if c.LogFormat == "json" {
		h = slog.NewJSONHandler(w, options)
	}
	return slog.New(h).With("service", service)
}
