// Command registry keeps who holds which bucket and what each bucket wants; see package registry.
package main

import (
	"context"
	"os"

	"github.com/tickfan/tickfan/libs/daemon"
	"github.com/tickfan/tickfan/services/registry"
)

func main() {
	var cfg registry.Config
	os.Exit(daemon.Main("registry", "Keeps the edges of a region, their buckets and the symbols that these want.", &cfg,
		map[string]string{"ops": ":9093"},
		func(ctx context.Context, deps registry.Deps) error { return registry.Run(ctx, cfg, deps) }))
}
