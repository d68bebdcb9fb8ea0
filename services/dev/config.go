package dev

import (
	"errors"
	"fmt"

	"github.com/tickfan/tickfan/libs/conf"
	"github.com/tickfan/tickfan/services/edge"
	"github.com/tickfan/tickfan/services/ingest"
	"github.com/tickfan/tickfan/services/registry"
	"github.com/tickfan/tickfan/services/router"
)

// embedded is what --nats says when dev runs a nats-server itself.
const embedded = "embedded"

// Config is everything that can be set: what each service has under the same name, and dev's own.
type Config struct {
	conf.Common `embed:""`
	Options     `embed:""`

	Ingest ingest.Options `embed:""`
	Router router.Options `embed:""`
	Edge   edge.Options   `embed:""`
}

// Options are dev's own flags.
type Options struct {
	NATSPort int    `name:"nats-port" default:"4222" help:"Port on 127.0.0.1 of the nats-server that runs in this process (--nats embedded); 0 is any free one. It asks for no password."`
	Data     string `name:"data" help:"Folder that keeps the embedded nats-server's streams. Default: a temporary one, removed at the end."`
}

// Defaults are the services' own, but on this machine only, with a feed to look at, and without a line for what goes as it
// should: the banner says all of it.
func Defaults() map[string]string {
	return map[string]string{"nats": embedded, "ops": "127.0.0.1:9090", "listen": "127.0.0.1:8080",
		"origin": "http://localhost:*,http://127.0.0.1:*", "source": "generator", "log_level": "warn"}
}

// Validate names all faults at once.
func (o *Options) Validate() error {
	if o.NATSPort < 0 || o.NATSPort > 65535 {
		return fmt.Errorf("--nats-port %d: 0 to 65535", o.NATSPort)
	}
	return nil
}

// Validate names what only the whole can have wrong.
func (c *Config) Validate() error {
	if c.NATS != embedded && c.Data != "" {
		return errors.New("--data goes with the embedded nats-server: leave --nats out")
	}
	return nil
}

func (c *Config) registry() registry.Config {
	return registry.Config{Common: c.Common, Options: registry.Options{Replicas: c.Ingest.Replicas}}
}
func (c *Config) ingest() ingest.Config { return ingest.Config{Common: c.Common, Options: c.Ingest} }
func (c *Config) router() router.Config { return router.Config{Common: c.Common, Options: c.Router} }
func (c *Config) edge() edge.Config     { return edge.Config{Common: c.Common, Options: c.Edge} }
