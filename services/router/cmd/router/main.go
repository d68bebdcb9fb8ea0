// Command router runs the service of that name; see package router.
package main

import (
	"context"
	"os"

	"github.com/tickfan/tickfan/libs/daemon"
	"github.com/tickfan/tickfan/services/router"
)

func main() {
	var cfg router.Config
	os.Exit(daemon.Main("router", "Sends the ticks of a region to the edges that want them.", &cfg, router.Defaults(),
		func(ctx context.Context, d router.Deps) error { return router.Run(ctx, cfg, d) }))
}
