package stack

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	product    = "github.com/tickfan/tickfan"
	tests      = "github.com/tickfan/tickfan/tests"
	natsServer = "github.com/nats-io/nats-server/v2"
)

// services are the commands that Build makes.
var services = [...]string{"registry", "router", "ingest", "edge", "dev", "tickctl"}

// Programs is a folder with the services' commands and nats-server in it.
type Programs struct{ dir string }

// Build makes the programs, with the race detector if the caller has it, in a folder of their own. The caller removes
// it.
func Build() (Programs, error) {
	dir, err := os.MkdirTemp("", "tickfan-stack-")
	if err != nil {
		return Programs{}, fmt.Errorf("make folder for programs: %w", err)
	}
	p := Programs{dir: dir}
	// Each from the module that pins its dependencies.
	flags := []string{}
	if race {
		flags = append(flags, "-race")
	}
	packages := make([]string, len(services))
	for i, s := range services {
		packages[i] = product + "/services/" + s + "/cmd/" + s
	}
	if err = p.build(product, flags, packages...); err == nil {
		err = p.build(tests, nil, natsServer)
	}
	if err != nil {
		p.Remove()
		return Programs{}, err
	}
	return p, nil
}

// Remove deletes the folder.
func (p Programs) Remove() { _ = os.RemoveAll(p.dir) } // what stays behind is in the system's folder for such

// Path is where a program lies: a service by its name, or nats-server.
func (p Programs) Path(name string) string { return filepath.Join(p.dir, name) }

func (p Programs) build(module string, flags []string, packages ...string) error {
	dir, err := goCommand("", "list", "-m", "-f", "{{.Dir}}", module)
	if err != nil {
		return err
	}
	args := append([]string{"build", "-o", p.dir + string(filepath.Separator)}, flags...)
	_, err = goCommand(strings.TrimSpace(dir), append(args, packages...)...)
	return err
}

func goCommand(dir string, args ...string) (string, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", cmd, err, stderr.String())
	}
	return string(out), nil
}
