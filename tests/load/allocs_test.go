//go:build linux

package load

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/tickfan/tickfan/tests/load/report"
)

const (
	allocPackage = "github.com/tickfan/tickfan/services/edge/internal/bucket"
	allocTest    = "TestTickDoesNotAllocate"
)

// runH runs the edge's own test; nothing outside of the process can count its allocations.
func (b *bench) runH() {
	if b.round > 1 {
		return // it cannot come out otherwise
	}
	ctx, cancel := context.WithTimeout(b.t.Context(), 5*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "go", "test", "-count=1", "-v", "-run", "^"+allocTest+"$", allocPackage).CombinedOutput()
	passed := strings.Contains(string(out), "--- PASS: "+allocTest)
	if err != nil || !passed {
		b.t.Errorf("%s of %s: %v\n%s", allocTest, allocPackage, err, out)
	}
	r := report.Run{Scenario: "H", Round: b.round, Server: edge}
	if !passed {
		r.Wrong = "it allocates"
	}
	b.runs = append(b.runs, r)
}

func (b *bench) tellH() report.Scenario {
	runs := b.of("H", edge, "")
	passed := len(runs) > 0 && runs[0].Wrong == ""
	t := report.Target{What: "allocations per subscriber per tick", Want: "0", Got: "more", State: report.Missed}
	if passed {
		t.Got, t.State = "0", report.Reached
	}
	return report.Scenario{Title: "nothing is allocated per subscriber and tick", Targets: []report.Target{t},
		Notes: []string{fmt.Sprintf("`go test -run %s %s`", allocTest, allocPackage)}}
}
