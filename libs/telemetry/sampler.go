package telemetry

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

const (
	samplerVar    = "OTEL_TRACES_SAMPLER"
	samplerArgVar = "OTEL_TRACES_SAMPLER_ARG"
)

// checkSampler finds what OpenTelemetry would pass over with a word to its error handler, tracing everything from then on.
func checkSampler(sampler, arg string) error {
	if sampler == "" {
		return nil
	}
	samplers := []string{"always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio"}
	name := strings.ToLower(strings.TrimSpace(sampler))
	if !slices.Contains(samplers, name) {
		return fmt.Errorf("%s %q: one of %s; or leave it out, and traces are begun at so many a second at most", samplerVar, sampler, strings.Join(samplers, ", "))
	}
	if arg = strings.TrimSpace(arg); arg == "" || !strings.HasSuffix(name, "traceidratio") {
		return nil
	}
	share, err := strconv.ParseFloat(arg, 64)
	if err == nil && (share < 0 || share > 1) {
		err = errors.New("out of range")
	}
	if err != nil {
		return fmt.Errorf("%s %q: the share of traces that %s takes, 0 to 1, e.g. 0.01", samplerArgVar, arg, name)
	}
	return nil
}
