package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/tickfan/tickfan/libs/conf"
	"github.com/tickfan/tickfan/libs/natsd"
	"github.com/tickfan/tickfan/libs/ops"
	"github.com/tickfan/tickfan/services/edge"
	"github.com/tickfan/tickfan/services/ingest"
	"github.com/tickfan/tickfan/services/registry"
	"github.com/tickfan/tickfan/services/router"
)

// Run starts a nats-server and all services, prints to out where to go when all are ready, and serves until ctx ends.
func Run(ctx context.Context, cfg Config, deps ops.Deps, out io.Writer) error {
	data, remove, err := dataFolder(cfg)
	if err != nil {
		return err
	}
	defer remove()
	if cfg.Edge.Listen, err = fixPort(cfg.Edge.Listen); err != nil {
		return err
	}
	if cfg.NATS == embedded {
		port := cfg.NATSPort
		if port == 0 {
			port = -1
		}
		srv, err := natsd.Start(natsd.Options{Host: "127.0.0.1", Port: port, Name: "tickfan-dev", JetStream: true, StoreDir: data,
			Domain: cfg.Region, Log: deps.Log.With("part", "nats-server")})
		if err != nil {
			return err
		}
		defer srv.Close()
		cfg.NATS = srv.URL()
	}
	return runAll(ctx, deps, []part{
		{"registry", func(ctx context.Context, d ops.Deps) error { return registry.Run(ctx, cfg.registry(), d) }},
		{"ingest", func(ctx context.Context, d ops.Deps) error { return ingest.Run(ctx, cfg.ingest(), d) }},
		{"router", func(ctx context.Context, d ops.Deps) error { return router.Run(ctx, cfg.router(), d) }},
		{"edge", func(ctx context.Context, d ops.Deps) error { return edge.Run(ctx, cfg.edge(), d) }},
	}, func() {
		banner(out, cfg, data)
		deps.SayReady()
	})
}

// part is one service.
type part struct {
	name string
	run  func(context.Context, ops.Deps) error
}

// runAll runs the parts until ctx ends or one of them does, then stops them one after the other, the last first: so an
// edge can still give up its lease to the registry.
func runAll(ctx context.Context, deps ops.Deps, parts []part, ready func()) error {
	g, gctx := errgroup.WithContext(ctx)
	readied := make(chan struct{}, len(parts))
	stops := make([]func(), 0, len(parts))
	for _, p := range parts {
		pctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
		ended := make(chan struct{})
		stops = append(stops, func() { cancel(context.Cause(gctx)); <-ended })
		g.Go(func() error {
			defer close(ended)
			d := ops.Deps{Log: deps.Log.With("part", p.name), Ops: deps.Ops, Ready: func() { readied <- struct{}{} }}
			if err := p.run(pctx, d); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			if gctx.Err() == nil {
				return fmt.Errorf("%s: %w", p.name, errEnded)
			}
			return nil
		})
	}
	g.Go(func() error {
		for range parts {
			select {
			case <-readied:
			case <-gctx.Done():
				return nil
			}
		}
		ready()
		return nil
	})
	<-gctx.Done()
	for i := len(stops) - 1; i >= 0; i-- {
		stops[i]()
	}
	return g.Wait()
}

var errEnded = errors.New("ended by itself")

func dataFolder(cfg Config) (path string, remove func(), err error) {
	if cfg.Data != "" || cfg.NATS != embedded {
		return cfg.Data, func() {}, writable(cfg.Data)
	}
	path, err = os.MkdirTemp("", "tickfan-dev-")
	if err != nil {
		return "", nil, fmt.Errorf("make data folder: %w; name one with --data, or another place for it with TMPDIR", err)
	}
	return path, func() { _ = os.RemoveAll(path) }, nil
}

// writable finds a folder that cannot be written to, or made, before nats-server does, which names no flag.
func writable(folder string) error {
	if folder == "" {
		return nil
	}
	err := os.MkdirAll(folder, 0o755)
	if err == nil {
		var f *os.File
		if f, err = os.CreateTemp(folder, ".writable-"); err == nil {
			err = errors.Join(f.Close(), os.Remove(f.Name()))
		}
	}
	if err != nil {
		return fmt.Errorf("data folder: %w; name one that this user can write to with --data", err)
	}
	return nil
}

// fixPort finds a taken port before anything is started, and replaces port 0 by a free one, so that what is printed can
// be clicked.
func fixPort(addr string) (string, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return "", err
	}
	ln, err := ops.Listen("--listen", addr)
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return net.JoinHostPort(host, strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)), nil
}

// banner says where to go.
func banner(out io.Writer, cfg Config, data string) {
	server, edgeFlag := "", ""
	at := conf.Strike(cfg.NATS)
	if at != "nats://127.0.0.1:4222" {
		server = "--server " + at + " "
	}
	page := browse(cfg.Edge.Listen)
	if cfg.Edge.TLSCert != "" {
		page = strings.Replace(page, "http:", "https:", 1)
	}
	if page != "http://localhost:8080" {
		edgeFlag = "--edge " + page + " "
	}
	switch {
	case data == "":
		data = "in " + at
	case cfg.Data == "":
		data += " (removed at the end; keep it with --data)"
	}
	fmt.Fprintf(out, "page     %s\npublish  nats %spub ingest.BTC-USD '{\"price\":\"64123.51\"}'\nwatch    bin/tickctl watch %sBTC-USD\nops      %s/readyz and /metrics\ndata     %s\n",
		page, server, edgeFlag, browse(cfg.Ops), data)
}

// browse is a listen address as a browser on this machine reaches it.
func browse(listen string) string {
	host, port, _ := net.SplitHostPort(listen)
	if ip := net.ParseIP(host); host == "" || ip != nil && (ip.IsUnspecified() || ip.IsLoopback()) {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port)
}
