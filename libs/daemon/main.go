package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"golang.org/x/sync/errgroup"

	"github.com/tickfan/tickfan/libs/conf"
	"github.com/tickfan/tickfan/libs/ops"
	"github.com/tickfan/tickfan/libs/telemetry"
)

// The exit codes of every command.
const (
	exitClean = 0 // stopped as told, help was printed, or `health` found it ready
	exitFault = 1 // stopped by an error, or `health` found it not ready
	exitUsage = 2 // flags or environment were wrong; nothing was started
)

// healthTimeout is how long `health` waits for the running service to answer.
const healthTimeout = 3 * time.Second

// Config is a service's configuration: a pointer to a struct that embeds conf.Common.
type Config interface {
	CommonConfig() *conf.Common
}

// Run is a service: it serves until ctx ends, then stops in order, waits for every goroutine
// it started and returns nil. It reads the Config that Main filled before calling it. An
// error returned after ctx ended that is only ctx's own (its Err or Cause) is a clean stop.
type Run func(ctx context.Context, d ops.Deps) error

// Main runs a service's command line from start to end and returns the exit code: 0 after a
// clean stop, 1 after an error, which is logged in one line, 2 for wrong flags or environment.
// vars are the defaults that differ between services, such as "ops" (see conf.Parse).
//
// SIGINT or SIGTERM ends the ctx of run with the signal as its cause, and makes the service
// not ready; a second signal kills the process. The ops port is bound before run is called
// and answers until run has returned. The subcommand health asks a running service instead.
func Main(service, description string, cfg Config, vars map[string]string, run Run) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// Once told to stop, the signals get their default action back: who sends a second one
	// does not want to wait for the drain.
	defer context.AfterFunc(ctx, stop)()
	return command(ctx, service, description, cfg, os.Args[1:], vars, run, os.Stderr)
}

// command is Main without the process: no signals, its arguments and stderr given.
func command(ctx context.Context, service, description string, cfg Config, args []string, vars map[string]string, run Run, stderr io.Writer) int {
	cmd, err := conf.Parse(service, description, cfg, args, vars)
	switch {
	case errors.Is(err, conf.ErrHelp):
		return exitClean
	case err != nil:
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintf(stderr, "%s: %s\n", service, strings.TrimSpace(line))
		}
		fmt.Fprintf(stderr, "%s: see %s --help\n", service, service)
		return exitUsage
	case cmd == conf.CommandHealth:
		ctx, cancel := context.WithTimeout(ctx, healthTimeout)
		defer cancel()
		err = ops.Check(ctx, cfg.CommonConfig().Ops)
	default:
		return serve(ctx, service, cfg, run, stderr)
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", service, err)
		return exitFault
	}
	return exitClean
}

// serve logs what runService did.
func serve(ctx context.Context, service string, cfg Config, run Run, stderr io.Writer) int {
	log := newLogger(service, cfg.CommonConfig(), stderr)
	telemetry.LogErrors(log)
	log.LogAttrs(ctx, slog.LevelInfo, "starting", slog.GroupAttrs("config", conf.Effective(cfg)...))

	err := runService(ctx, service, cfg.CommonConfig(), log, run)
	if err != nil {
		log.Error("stopped by an error", "error", strings.ReplaceAll(err.Error(), "\n", "; "))
		return exitFault
	}
	log.Info("stopped")
	return exitClean
}

// runService calls run with the ops port open beside it:
//
//	bind ops -> serve ops ------------------------------------> close ops
//	         -> run ...  signal: not ready, ctx ends ... return ^
func runService(ctx context.Context, service string, common *conf.Common, log *slog.Logger, run Run) (err error) {
	mux, err := ops.New(service, attribute.String("region", common.Region))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, mux.Close(context.WithoutCancel(ctx))) }()
	if common.Pprof {
		mux.EnablePprof()
	}
	ln, err := ops.Listen("--ops", common.Ops)
	if err != nil {
		return err
	}
	common.Ops = ln.Addr().String() // port 0 has become a real one, which run may want to tell
	log.Info("ops is listening", "address", common.Ops)

	g, gctx := errgroup.WithContext(ctx)
	// /readyz must say "not ready" while run drains, so ops outlives ctx until run is done.
	opsCtx, closeOps := context.WithCancel(context.WithoutCancel(ctx))
	g.Go(func() error { return mux.Serve(opsCtx, ln) })
	g.Go(func() error {
		defer closeOps()
		told := make(chan struct{})
		stop := context.AfterFunc(gctx, func() {
			defer close(told)
			mux.Stopping(context.Cause(gctx))
			log.Info("stopping", "cause", context.Cause(gctx))
		})
		defer func() {
			if !stop() {
				<-told // run may be quicker, and "stopped" is the last line
			}
		}()
		err := run(gctx, ops.Deps{
			Log:   log,
			Ops:   mux,
			Ready: sync.OnceFunc(func() { log.Info("ready") }),
		})
		if onlyContext(gctx, err) {
			return nil
		}
		return err
	})
	return g.Wait()
}

// onlyContext says that an error tells nothing but that ctx ended.
func onlyContext(ctx context.Context, err error) bool {
	return ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, context.Cause(ctx)))
}
