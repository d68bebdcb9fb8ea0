package registry

import (
	"strings"
	"testing"

	"github.com/tickfan/tickfan/libs/conf"
)

func TestConfig(t *testing.T) {
	var cfg Config
	if _, err := conf.Parse("registry", "", &cfg, nil, map[string]string{"ops": ":9093"}); err != nil || cfg.Replicas != 1 || cfg.Ops != ":9093" {
		t.Errorf("defaults %+v, %v", cfg, err)
	}
	_, err := conf.Parse("registry", "", &cfg, []string{"--replicas", "2", "--region", "EU"}, nil)
	if err == nil || !strings.Contains(err.Error(), "--replicas 2") || !strings.Contains(err.Error(), "--region") {
		t.Errorf("error %v, want both faults", err)
	}
}
