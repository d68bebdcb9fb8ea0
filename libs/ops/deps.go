package ops

import "log/slog"

// Deps is what every service's Run gets from whoever starts it: its own main, or the
// all-in-one. Services name it `type Deps = ops.Deps`.
type Deps struct {
	// Log carries the service's name already. Never nil.
	Log *slog.Logger
	// Ops takes the service's conditions and metrics. Never nil; the services of the
	// all-in-one share one.
	Ops *Mux
	// Ready is called once, when the service first is ready: all its conditions met and
	// its listeners open. It may be nil and must not block; call SayReady.
	Ready func()
}

// SayReady calls Ready if there is one. Call it once.
func (d Deps) SayReady() {
	if d.Ready != nil {
		d.Ready()
	}
}
