package edge

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/services/edge/internal/api"
)

// front is the edge's HTTP server. It answers from the moment that its port is taken: with 503 until the edge can serve,
// so that who comes early goes to another edge at once, rather than wait for an answer.
type front struct {
	srv     *http.Server
	handler atomic.Pointer[http.Handler]
	done    chan struct{} // closed when it serves no more
	err     error         // why, by then
}

func newFront(ln net.Listener) *front {
	f := &front{done: make(chan struct{})}
	f.srv = &http.Server{
		ReadTimeout:    requestTime,
		WriteTimeout:   requestTime,
		IdleTimeout:    time.Minute,
		MaxHeaderBytes: 16 << 10,
		Handler:        f,
	}
	go func() {
		defer close(f.done)
		f.err = f.srv.Serve(ln)
	}()
	return f
}

// open has h answer from now on.
func (f *front) open(h http.Handler) { f.handler.Store(&h) }

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := f.handler.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	w.Header().Set("Retry-After", "1")
	api.Refuse(w, http.StatusServiceUnavailable, code.Errorf(code.Unavailable, "this edge is starting: try again in a second, or another edge"))
}

// close ends it; who has not finished his request in shutdownTime is cut off.
func (f *front) close() {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTime)
	defer cancel()
	if f.srv.Shutdown(ctx) != nil {
		_ = f.srv.Close()
	}
	<-f.done
}
