// Command edge serves clients' sockets.
package main

import (
	"context"
	"os"

	"github.com/tickfan/tickfan/libs/daemon"
	"github.com/tickfan/tickfan/libs/ops"
	"github.com/tickfan/tickfan/services/edge"
)

func main() {
	var cfg edge.Config
	os.Exit(daemon.Main("edge", "Serves clients' sockets: each gets the newest prices of its symbols.", &cfg, edge.Defaults(),
		func(ctx context.Context, d ops.Deps) error { return edge.Run(ctx, cfg, d) }))
}
