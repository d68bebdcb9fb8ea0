package api

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

// An edge that starts before the routers warns of nothing, one that has lost them does, and says when they are back.
func TestRouterIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		var away error
		h := New(Options{Page: http.NotFoundHandler(), WebSocket: http.NotFoundHandler(), Log: slog.New(slog.NewTextHandler(&out, nil)),
			All:     func(context.Context) (map[subject.Symbol]tick.Tick, error) { return nil, away },
			Refused: func(code.Code) {}})
		ask := func(fault error, status int, want ...string) {
			t.Helper()
			away = fault
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, session.PathSymbols, nil))
			if w.Code != status {
				t.Errorf("status %d, want %d", w.Code, status)
			}
			got := out.String()
			out.Reset()
			if strings.Count(got, "\n") != min(len(want), 1) {
				t.Errorf("the log has %q", got)
			}
			for _, part := range want {
				if !strings.Contains(got, part) {
					t.Errorf("the log has %q, want %s", got, part)
				}
			}
		}
		gone := errors.New("timeout")
		ask(gone, 503, "level=INFO", `msg="no router answers"`, "error=timeout")
		ask(gone, 503) // said already
		ask(nil, 200, "level=INFO", `msg="a router answers"`)
		ask(nil, 200)
		time.Sleep(starting)
		ask(gone, 503, "level=WARN", `msg="no router answers"`)
		ask(nil, 200, "level=INFO", `msg="a router answers"`)
	})
}
