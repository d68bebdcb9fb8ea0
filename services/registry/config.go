package registry

import (
	"errors"
	"fmt"
	"time"

	"github.com/tickfan/tickfan/libs/conf"
)

// Options are the registry's own flags.
type Options struct {
	Replicas int `name:"replicas" default:"1" help:"On how many NATS servers the KV stores are kept, when they are made: 1, 3 or 5."`
}

// Config is the configuration of a registry process.
type Config struct {
	conf.Common `embed:""`
	Options     `embed:""`

	// Zero but in tests.
	times times `kong:"-"`
}

// times are the intervals that make up a lease's life.
type times struct {
	lease time.Duration // from a heartbeat on
	grace time.Duration // from the lease's end to the removal of the edge's interest
	look  time.Duration // how often the dead are looked for
}

var defaultTimes = times{lease: 15 * time.Second, grace: 10 * time.Second, look: 250 * time.Millisecond}

// Defaults are those that the all-in-one sets otherwise.
func Defaults() map[string]string { return map[string]string{"ops": ":9093"} }

// Validate reports every fault at once, each named by its flag.
func (o *Options) Validate() error {
	if o.Replicas != 1 && o.Replicas != 3 && o.Replicas != 5 {
		return fmt.Errorf("--replicas %d: 1, 3 or 5", o.Replicas)
	}
	return nil
}

// Validate reports every fault at once, each named by its flag.
func (c *Config) Validate() error {
	return errors.Join(c.Common.Validate(), c.Options.Validate())
}
