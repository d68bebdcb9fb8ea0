// Command dev runs all of Tickfan in one process.
package main

import (
	"context"
	"os"

	"github.com/tickfan/tickfan/libs/daemon"
	"github.com/tickfan/tickfan/libs/ops"
	"github.com/tickfan/tickfan/services/dev"
)

func main() {
	var cfg dev.Config
	os.Exit(daemon.Main("dev", "All of Tickfan in one process, with a nats-server and a demo feed.", &cfg, dev.Defaults(),
		func(ctx context.Context, d ops.Deps) error { return dev.Run(ctx, cfg, d, os.Stdout) }))
}
