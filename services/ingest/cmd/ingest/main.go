// Command ingest takes prices and stamps them.
package main

import (
	"context"
	"os"

	"github.com/tickfan/tickfan/libs/daemon"
	"github.com/tickfan/tickfan/libs/ops"
	"github.com/tickfan/tickfan/services/ingest"
)

func main() {
	var cfg ingest.Config
	os.Exit(daemon.Main("ingest", "Takes prices from exchanges and from ingest.<symbol>, stamps and publishes them.", &cfg, ingest.Vars(),
		func(ctx context.Context, d ops.Deps) error { return ingest.Run(ctx, cfg, d) }))
}
