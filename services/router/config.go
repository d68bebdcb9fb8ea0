package router

import (
	"errors"
	"fmt"
	"time"

	"github.com/tickfan/tickfan/libs/conf"
)

// Options are the router's own flags.
type Options struct {
	Copies int           `name:"copies" default:"1" help:"Routers that serve each bucket, 1 or 2. With 2, of which edges drop the second copy of each tick, a router's death costs no gap. All routers of a region must be told the same."`
	Flush  time.Duration `name:"flush" default:"2ms" help:"Least time between two batches to a bucket, 100us to 1s."`
}

// Bounds of --flush: below, a batch would hold one tick and the machine would do little but publish; above, a price is
// old before it leaves.
const (
	minFlush = 100 * time.Microsecond
	maxFlush = time.Second
)

// Config is the configuration of a router process.
type Config struct {
	conf.Common `embed:""`
	Options     `embed:""`
}

// Defaults are those that the all-in-one sets otherwise.
func Defaults() map[string]string { return map[string]string{"ops": ":9092"} }

// Validate reports every fault at once, each named by its flag.
func (o *Options) Validate() error {
	var faults []error
	if o.Copies < 1 || o.Copies > 2 {
		faults = append(faults, fmt.Errorf("--copies %d: 1 or 2", o.Copies))
	}
	if o.Flush < minFlush || o.Flush > maxFlush {
		faults = append(faults, fmt.Errorf("--flush %s: %s to %s", o.Flush, minFlush, maxFlush))
	}
	return errors.Join(faults...)
}

// Validate reports every fault at once, each named by its flag.
func (c *Config) Validate() error {
	return errors.Join(c.Common.Validate(), c.Options.Validate())
}
