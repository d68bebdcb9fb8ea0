// Command ingest runs the service of that name; see package ingest.
package main

import (
	"context"
	"os"

	"github.com/tickfan/tickfan/libs/daemon"
	"github.com/tickfan/tickfan/services/ingest"
)

func main() {
	var cfg ingest.Config
	os.Exit(daemon.Main("ingest", "Takes prices from exchanges and from ingest.<symbol>, stamps and publishes them.", &cfg, ingest.Defaults(),
		func(ctx context.Context, d ingest.Deps) error { return ingest.Run(ctx, cfg, d) }))
}
