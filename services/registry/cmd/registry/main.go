// Command registry runs the service of that name; see package registry.
package main

import (
	"context"
	"os"

	"github.com/tickfan/tickfan/libs/daemon"
	"github.com/tickfan/tickfan/services/registry"
)

func main() {
	var cfg registry.Config
	os.Exit(daemon.Main("registry", "Keeps the edges of a region, their buckets and the symbols that these want.", &cfg, registry.Defaults(),
		func(ctx context.Context, d registry.Deps) error { return registry.Run(ctx, cfg, d) }))
}
