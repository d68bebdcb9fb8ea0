package stack

import (
	"path/filepath"
	"testing"
)

// Dev is the all-in-one. What it prints for its user is apart from its log.
type Dev struct {
	*Process
	temp string
}

// NewDev makes one that is not started yet. Its temporary files go to Temp.
func NewDev(t testing.TB, p Programs) *Dev {
	t.Helper()
	d := &Dev{Process: newProcess(t, "dev", p.Path("dev")), temp: t.TempDir()}
	d.env = append(d.env, "TMPDIR="+d.temp)
	d.stdout = newOutput(t, filepath.Join(t.ArtifactDir(), "dev.stdout"))
	return d
}

// Temp is the folder that it finds for temporary files.
func (d *Dev) Temp() string { return d.temp }

// Printed is what it has said to its user.
func (d *Dev) Printed() string { return d.stdout.all() }
