package api

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

// immutable is for a range that is there whole: a position never gets another price.
const immutable = "public, max-age=31536000, immutable"

// ticks is GET /v1/ticks/<symbol>?epoch=&from=&to=.
func (a *api) ticks(w http.ResponseWriter, r *http.Request, s subject.Symbol, q url.Values) {
	g, err := parseRange(s, q)
	if err != nil {
		a.Refuse(w, http.StatusBadRequest, code.Of(err))
		return
	}
	got, err := a.o.Range(r.Context(), g)
	if !a.answered(w, err) {
		return
	}
	if len(got.Ticks) == 0 && got.Lack == tick.Gone {
		if all, err := a.o.All(r.Context()); err == nil {
			if _, priced := all[s]; !priced {
				a.Refuse(w, http.StatusNotFound, code.Errorf(code.NoPrice, "symbol %s has no price yet", s))
				return
			}
		}
		a.Refuse(w, http.StatusGone, code.Errorf(code.Gone, "symbol %s, epoch %d, from %d to %d: none of it is in the history (any more)", s, g.Epoch, g.From, g.To))
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	if got.Lack == tick.Nothing {
		h.Set("Cache-Control", immutable)
	}
	p := append(make([]byte, 0, 256*(1+len(got.Ticks))), `{"ticks":[`...)
	for i := range got.Ticks {
		if i > 0 {
			p = append(p, ',')
		}
		p = session.AppendTickJSON(p, &got.Ticks[i])
	}
	_, _ = w.Write(append(p, "]}\n"...))
}

func parseRange(s subject.Symbol, q url.Values) (tick.Range, error) {
	g := tick.Range{Symbol: s}
	for _, p := range []struct {
		name  string
		value *uint64
	}{{"epoch", &g.Epoch}, {"from", &g.From}, {"to", &g.To}} {
		n, err := strconv.ParseUint(q.Get(p.name), 10, 64)
		if err != nil {
			return g, code.Errorf(code.BadRange, "%s %s: an integer from 1; a range needs epoch, from and to, at most %d ticks",
				p.name, code.Quote(q.Get(p.name)), tick.MaxRange)
		}
		*p.value = n
	}
	return g, g.Check()
}
