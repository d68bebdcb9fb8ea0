package front

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tickfan/tickfan/libs/quiet"
	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/services/edge/internal/api"
	"github.com/tickfan/tickfan/services/edge/internal/socket"
)

const (
	// requestTime is Options.RequestTime where none is given.
	requestTime = 10 * time.Second
	// shutdownTime is how long a plain HTTP request may still take at the end.
	shutdownTime = time.Second
	// logEvery is the least time between two log lines of what clients may cause as often as they like.
	logEvery = 10 * time.Second
	// maxHeader is how long a request's head may be, in bytes.
	maxHeader = 16 << 10

	// spare is how many connections above the limit there are at most, to be told that there is no room. When all of them
	// are taken, who has said nothing for spareTime makes room for others (but where net/http reads handshakes).
	spare     = 200
	spareTime = time.Second

	// A handshake leaves 0.6-4 KB of garbage, and without new ones the next collection may be minutes away. So after
	// storm connections the memory goes back to the system when none has come for calm.
	storm = 1000
	calm  = 2 * time.Second

	// again is how long to wait before more connections are taken when there are too many, or when the system gives none
	// for lack of files or memory.
	again = 50 * time.Millisecond
)

// Options of a Front.
type Options struct {
	Listener net.Listener
	TLS      *tls.Config     // nil: plain
	Pollers  *socket.Pollers // they read handshakes (Linux, plain); nil: net/http does
	Log      *slog.Logger
	Refused  func(code.Code) // counts

	// RequestTime is how long a client may take for its TLS handshake, to send a request, and again to read its answer;
	// 10 seconds when it is 0.
	RequestTime time.Duration
}

// Front is the edge's server. It answers from the moment that its port is taken: with 503 until the edge can serve, so
// that who comes early goes to another edge at once, rather than wait for an answer.
type Front struct {
	o     Options
	log   *quiet.Log
	srv   *http.Server
	open  atomic.Pointer[opened]
	stop  func() // ends the accepting of connections
	ends  chan struct{}
	conns atomic.Int64
	storm atomic.Int64 // connections since memory was last given back
	calm  *time.Timer
	once  sync.Once

	// Done is closed when it serves no more; Err says why, by then.
	Done chan struct{}
	Err  error
}

// New serves o.Listener until Close.
func New(o Options) (*Front, error) {
	o.RequestTime = cmp.Or(o.RequestTime, requestTime)
	f := &Front{o: o, log: quiet.New(o.Log, logEvery), ends: make(chan struct{}), Done: make(chan struct{})}
	f.calm = time.AfterFunc(calm, f.free)
	f.srv = &http.Server{
		ReadTimeout:    o.RequestTime,
		WriteTimeout:   o.RequestTime,
		IdleTimeout:    time.Minute,
		MaxHeaderBytes: maxHeader,
		Handler:        f,
		ConnState:      f.state,
		ErrorLog:       log.New(faults{f.log}, "", 0),
	}
	ln, stop := net.Listener(patient{o.Listener, f}), func() {}
	switch {
	case o.TLS != nil:
		ln = secure{ln, o.TLS}
	case f.polls():
		var err error
		if ln, stop, err = f.accept(); err != nil {
			return nil, fmt.Errorf("accept connections: %w", err)
		}
	}
	f.stop = stop
	go func() {
		defer close(f.Done)
		f.Err = f.srv.Serve(ln)
	}()
	return f, nil
}

// polls tells whether pollers read handshakes.
func (f *Front) polls() bool { return f.o.Pollers != nil && f.o.TLS == nil }

type opened struct {
	handler http.Handler
	room    func() int
}

// Open has h answer from now on. room is for how many more connections there is room, those of Conns counted as there
// already; below 0, requests are refused.
func (f *Front) Open(h http.Handler, room func() int) { f.open.Store(&opened{h, room}) }

// Conns is how many connections there are besides those that a handler has taken over.
func (f *Front) Conns() int { return int(f.conns.Load()) }

func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o := f.open.Load()
	switch {
	case o == nil:
		refuse(w, "1", code.Errorf(code.Unavailable, "this edge is starting: try again in a second, or another edge"))
	case o.room() < 0:
		f.o.Refused(code.TooManyClients)
		refuse(w, "5", code.Errorf(code.TooManyClients, "this edge is full: try again in 5 seconds, or another edge"))
	default:
		o.handler.ServeHTTP(w, r)
	}
}

func refuse(w http.ResponseWriter, after string, e *code.Error) {
	w.Header().Set("Retry-After", after)
	w.Header().Set("Connection", "close")
	api.Refuse(w, http.StatusServiceUnavailable, e)
}

// crowded tells whether so many wait to be refused that more should wait in the system's queue.
func (f *Front) crowded() bool {
	o := f.open.Load()
	return o != nil && o.room() < -spare
}

// wait returns when there are not too many connections, or none are accepted any more: false.
func (f *Front) wait() bool {
	for f.crowded() {
		if f.polls() {
			f.o.Pollers.Hurry(f.o.RequestTime - spareTime)
		}
		if !f.pause() {
			return false
		}
	}
	return true
}

// pause is a moment; false: the end came.
func (f *Front) pause() bool {
	select {
	case <-f.ends:
		return false
	case <-time.After(again):
		return true
	}
}

// patient accepts when there are not too many connections.
type patient struct {
	net.Listener
	f *Front
}

func (p patient) Accept() (net.Conn, error) {
	if !p.f.wait() {
		return nil, net.ErrClosed
	}
	return p.Listener.Accept()
}

// state counts net/http's connections.
func (f *Front) state(_ net.Conn, s http.ConnState) {
	switch s {
	case http.StateNew:
		f.arrived()
	case http.StateClosed, http.StateHijacked:
		f.conns.Add(-1)
	}
}

func (f *Front) arrived() {
	f.conns.Add(1)
	if f.storm.Add(1) >= storm {
		f.calm.Reset(calm)
	}
}

func (f *Front) free() {
	if f.storm.Swap(0) >= storm {
		runtime.GC() // halves the stack of a goroutine that needed more for a moment, each time
		runtime.GC()
		debug.FreeOSMemory()
	}
}

// Close ends it; who has not finished his request in shutdownTime is cut off.
func (f *Front) Close() {
	f.once.Do(func() { close(f.ends) })
	f.stop()
	f.calm.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTime)
	defer cancel()
	if f.srv.Shutdown(ctx) != nil {
		_ = f.srv.Close()
	}
	<-f.Done
}
