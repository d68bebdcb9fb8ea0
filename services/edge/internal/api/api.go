package api

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/tickfan/tickfan/libs/quiet"
	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
	"github.com/tickfan/tickfan/services/edge/internal/newest"
)

const (
	logEvery = 10 * time.Second
	// starting is how long it is no fault that no router answers: services start in any order.
	starting = 10 * time.Second
)

// Options of the API.
type Options struct {
	Page      http.Handler
	WebSocket http.Handler
	Origins   Origins
	Log       *slog.Logger
	// Live is a symbol's newest tick if a client of this edge has subscribed to it.
	Live func(context.Context, subject.Symbol) (tick.Tick, bool)
	// All is the newest tick of every symbol, up to two seconds old.
	All func(context.Context) (map[subject.Symbol]tick.Tick, error)
	// Range is what the history holds of a range.
	Range func(context.Context, tick.Range) (newest.Answer, error)
	// Refused counts an error by its code.
	Refused func(code.Code)
}

type api struct {
	o     Options
	began time.Time
	log   *quiet.Log
}

// New makes the edge's HTTP handler.
func New(o Options) http.Handler {
	a := &api{o: o, began: time.Now(), log: quiet.New(o.Log, logEvery)}
	mux := http.NewServeMux()
	mux.Handle("GET "+session.PathWS, o.WebSocket)
	mux.HandleFunc("GET "+session.PathSymbols, a.symbols)
	mux.HandleFunc("GET "+session.PathTicks+"{symbol}", a.newest)
	v1 := func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern == "" {
			a.Refuse(w, http.StatusNotFound, code.Errorf(code.NotFound, "no such path: %s, %s, %s<symbol>", session.PathWS, session.PathSymbols, session.PathTicks))
			return
		}
		mux.ServeHTTP(w, r)
	}
	root := http.NewServeMux()
	root.Handle("/v1/", a.checkOrigin(http.HandlerFunc(v1)))
	root.Handle("/", o.Page)
	return root
}

// checkOrigin refuses pages of other hosts that --origin does not name, and lets those that it names read the answers.
func (a *api) checkOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get("Origin")
		if !a.o.Origins.Allow(origin, r.Host) {
			a.log.Warn("origin", "refused a page of another host; allow it with --origin", "origin", origin, "host", r.Host, "path", r.URL.Path, "remote", r.RemoteAddr)
			a.Refuse(w, http.StatusForbidden, code.Errorf(code.BadOrigin, "origin %s: none, this host, or one named by the edge's --origin", code.Quote(origin)))
			return
		}
		h := w.Header()
		h.Add("Vary", "Origin")
		if origin != "" {
			h.Set("Access-Control-Allow-Origin", origin)
		}
		switch r.Method {
		case http.MethodGet, http.MethodHead:
			next.ServeHTTP(w, r)
		case http.MethodOptions:
			h.Set("Access-Control-Allow-Methods", "GET, HEAD")
			h.Set("Access-Control-Allow-Headers", r.Header.Get("Access-Control-Request-Headers"))
			w.WriteHeader(http.StatusNoContent)
		default:
			h.Set("Allow", "GET, HEAD")
			a.Refuse(w, http.StatusMethodNotAllowed, code.Errorf(code.MethodNotAllowed, "method %s: GET or HEAD", code.Quote(r.Method)))
		}
	})
}

// Refuse answers with an error.
func (a *api) Refuse(w http.ResponseWriter, status int, e *code.Error) {
	a.o.Refused(e.Code)
	Refuse(w, status, e)
}

// Refuse answers with an error: {"error":{"code","message"}}.
func Refuse(w http.ResponseWriter, status int, e *code.Error) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store") // a cache may keep a 404 or 410 otherwise
	w.WriteHeader(status)
	encode(w, map[string]*code.Error{"error": e})
}

// symbols is GET /v1/symbols.
func (a *api) symbols(w http.ResponseWriter, r *http.Request) {
	all, ok := a.all(w, r)
	if !ok {
		return
	}
	a.answer(w, map[string][]subject.Symbol{"symbols": append([]subject.Symbol{}, slices.Sorted(maps.Keys(all))...)})
}

// newest is GET /v1/ticks/<symbol>.
func (a *api) newest(w http.ResponseWriter, r *http.Request) {
	s, err := subject.ParseSymbol(r.PathValue("symbol"))
	if err != nil {
		a.Refuse(w, http.StatusBadRequest, code.Of(err))
		return
	}
	if q := r.URL.Query(); q.Has("epoch") || q.Has("from") || q.Has("to") {
		a.ticks(w, r, s, q)
		return
	}
	t, ok := a.o.Live(r.Context(), s)
	if !ok {
		all, answered := a.all(w, r)
		if !answered {
			return
		}
		if t, ok = all[s]; !ok {
			a.Refuse(w, http.StatusNotFound, code.Errorf(code.NoPrice, "symbol %s has no price yet", s))
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(append(session.AppendTickJSON(nil, &t), '\n'))
}

// all gives the newest tick of every symbol, or refuses the request.
func (a *api) all(w http.ResponseWriter, r *http.Request) (all map[subject.Symbol]tick.Tick, ok bool) {
	all, err := a.o.All(r.Context())
	return all, a.answered(w, err)
}

// answered tells whether a router answered; if not, the client is told.
func (a *api) answered(w http.ResponseWriter, err error) bool {
	if err == nil {
		if a.log.Over("router") {
			a.o.Log.Info("a router answers")
		}
		return true
	}
	level := slog.LevelWarn
	if time.Since(a.began) < starting {
		level = slog.LevelInfo
	}
	a.log.Log(level, "router", "no router answers", "error", err)
	w.Header().Set("Retry-After", "1")
	a.Refuse(w, http.StatusServiceUnavailable, code.Errorf(code.Unavailable, "no router of this region answers: try again in a second"))
	return false
}

func (a *api) answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	encode(w, v)
}

// encode writes v as people read it: < and > as they are.
func encode(w http.ResponseWriter, v any) {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(v)
}
