package compose

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	// name keeps the test's containers apart from those of a developer; the ports are the same.
	name  = "tickfan-test"
	label = "label=com.docker.compose.project=" + name
	top   = "../.."

	// patience is for whatever must happen, on a busy machine.
	patience = 2 * time.Minute
)

// project is docker-compose.yml in one of its forms.
type project struct {
	t       *testing.T
	profile string // "" is what "docker compose up" starts
}

// newProject skips a test that was not asked for. What it starts is gone at the end of the test.
func newProject(t *testing.T, profile string) *project {
	t.Helper()
	if !*composeFlag {
		t.Skip("needs a Docker Engine: make test-compose")
	}
	p := &project{t: t, profile: profile}
	p.compose("down", "--volumes", "--remove-orphans") // what a killed test has left
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(p.compose("ps", "--all"))
			t.Log(p.compose("logs", "--no-color", "--tail", "15"))
		}
		p.compose("down", "--volumes", "--remove-orphans")
	})
	return p
}

// compose runs docker compose and gives its stdout.
func (p *project) compose(args ...string) string {
	p.t.Helper()
	all := []string{"compose", "--project-name", name, "--file", "docker-compose.yml"}
	for _, f := range strings.Fields(*overridesFlag) {
		all = append(all, "--file", f)
	}
	if p.profile != "" {
		all = append(all, "--profile", p.profile)
	}
	began := time.Now()
	out := p.run("docker", append(all, args...)...)
	p.t.Logf("%5.1f s  docker compose %s", time.Since(began).Seconds(), strings.Join(args, " "))
	return out
}

// run runs a command at the top of the repository and gives its stdout; where it fails the test ends.
func (p *project) run(command string, args ...string) string {
	p.t.Helper()
	cmd := exec.Command(command, args...)
	cmd.Dir = top
	cmd.Env = slices.DeleteFunc(os.Environ(), func(e string) bool {
		// What a developer has set for himself is not what is tested.
		return strings.HasPrefix(e, "TICKFAN_") || strings.HasPrefix(e, "OTEL_") || strings.HasPrefix(e, "COMPOSE_PROFILES=")
	})
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		p.t.Fatalf("%s: %v\n%s%s", cmd, err, out, stderr.String())
	}
	return string(out)
}

// up starts all and waits until it is healthy.
func (p *project) up() {
	p.t.Helper()
	p.compose("build")
	p.compose("up", "--detach", "--wait", "--wait-timeout", "240")
}

// container is what docker inspect says of one.
type container struct {
	Name   string
	Config struct {
		User   string
		Labels map[string]string
	}
	HostConfig struct {
		ReadonlyRootfs bool
		PortBindings   map[string][]struct{ HostIp, HostPort string }
	}
	State struct {
		Status string
		Health *struct{ Status string }
	}
}

func (c *container) service() string { return c.Config.Labels["com.docker.compose.service"] }

// containers gives those that are there, stopped ones too.
func (p *project) containers() (all []container) {
	p.t.Helper()
	ids := strings.Fields(p.run("docker", "ps", "--all", "--quiet", "--filter", label))
	if len(ids) == 0 {
		return nil
	}
	if err := json.Unmarshal([]byte(p.run("docker", append([]string{"inspect"}, ids...)...)), &all); err != nil {
		p.t.Fatalf("read docker inspect: %v", err)
	}
	return all
}

// expect checks that these services run, each in so many containers, and nothing else. All with a health check have to
// be healthy.
func (p *project) expect(want map[string]int) {
	p.t.Helper()
	got := map[string]int{}
	for _, c := range p.containers() {
		got[c.service()]++
		if c.State.Status != "running" || c.State.Health != nil && c.State.Health.Status != "healthy" {
			p.t.Errorf("%s: %s, health %v", c.Name, c.State.Status, c.State.Health)
		}
	}
	if !maps.Equal(got, want) {
		p.t.Errorf("containers by service: got %v, want %v", got, want)
	}
}

// leftovers names the containers, networks and volumes of the project.
func (p *project) leftovers() (all []string) {
	p.t.Helper()
	for _, kind := range []string{"container", "network", "volume"} {
		for _, id := range strings.Fields(p.run("docker", kind, "ls", "--quiet", "--filter", label)) {
			all = append(all, kind+" "+id)
		}
	}
	return all
}

// volumes names all volumes of the engine.
func (p *project) volumes() []string {
	p.t.Helper()
	return strings.Fields(p.run("docker", "volume", "ls", "--quiet"))
}

func sameSet(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// eventually tries cond until it is true; one try may cost a process.
func eventually(t *testing.T, within time.Duration, cond func() bool, what string) {
	t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	began := time.Now()
	for !cond() {
		select {
		case <-again.C:
		case <-deadline.C:
			t.Fatalf("not within %s: %s", within, what)
		}
	}
	t.Logf("%5.1f s  until %s", time.Since(began).Seconds(), what)
}
