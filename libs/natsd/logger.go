package natsd

import (
	"fmt"
	"log/slog"
)

// logger hands the server's log on. A notice ("Server is ready") is of no interest beside
// the service's own lines, so it is debug; the server's own debug and trace are left off.
type logger struct {
	log   *slog.Logger
	fatal chan string // the first fault that the server cannot go on with
}

func newLogger(log *slog.Logger) logger {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return logger{log, make(chan string, 1)}
}

func (l logger) Noticef(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l logger) Warnf(format string, v ...any)   { l.log.Warn(fmt.Sprintf(format, v...)) }
func (l logger) Errorf(format string, v ...any)  { l.log.Error(fmt.Sprintf(format, v...)) }

func (l logger) Debugf(string, ...any) {}
func (l logger) Tracef(string, ...any) {}

// Fatalf does not end the process: that is for main.
func (l logger) Fatalf(format string, v ...any) {
	why := fmt.Sprintf(format, v...)
	l.log.Error(why)
	select {
	case l.fatal <- why:
	default: // only the first is the cause
	}
}
