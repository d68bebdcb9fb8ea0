package router

import (
	"strings"
	"testing"
	"time"

	"github.com/tickfan/tickfan/libs/conf"
)

func TestConfig(t *testing.T) {
	parse := func(args ...string) (Config, error) {
		var cfg Config
		_, err := conf.Parse("router", "", &cfg, args, map[string]string{"ops": ":9092"})
		return cfg, err
	}
	cfg, err := parse()
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Copies != 1 || cfg.Flush != 2*time.Millisecond || cfg.Ops != ":9092" {
		t.Errorf("defaults: %+v", cfg)
	}
	if _, err := parse("--copies", "2", "--flush", "100us"); err != nil {
		t.Errorf("what is allowed: %v", err)
	}
	_, err = parse("--copies", "3", "--flush", "2s", "--region", "EU")
	if err == nil {
		t.Fatal("faults were let through")
	}
	for _, want := range []string{
		"--copies 3: 1 or 2",
		"--flush 2s: 100µs to 1s",
		"--region",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	t.Setenv("TICKFAN_FLUSH", "50us")
	if _, err := parse(); err == nil || !strings.Contains(err.Error(), "--flush 50µs") {
		t.Errorf("from the environment: %v", err)
	}
}
