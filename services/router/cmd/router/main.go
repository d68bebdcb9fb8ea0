// Command router fans the ticks of a region out to its buckets; see package router.
package main

import (
	"context"
	"os"

	"github.com/tickfan/tickfan/libs/daemon"
	"github.com/tickfan/tickfan/services/router"
)

func main() {
	var cfg router.Config
	os.Exit(daemon.Main("router", "Sends the ticks of a region to the edges that want them.", &cfg,
		map[string]string{"ops": ":9092"},
		func(ctx context.Context, deps router.Deps) error { return router.Run(ctx, cfg, deps) }))
}
