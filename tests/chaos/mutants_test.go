package chaos

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

var mutantsFlag = flag.String("mutants", "", "the wrong builds that must be caught: a regular expression; default none")

// mutantTime is how long blows are dealt to a wrong build.
const mutantTime = 75 * time.Second

// mutant is a wrong build: something that keeps prices right is taken out.
type mutant struct {
	name  string
	edits []edit
	seed  uint64
	only  string // the blows that catch it
	// right: the build is, and it is the machine that is wrong.
	right bool
}

// edit replaces a text that occurs once in a file of the repository.
type edit struct{ file, old, new string }

var mutants = []mutant{
	{"an edge takes ticks that are not newer", []edit{
		{"services/edge/internal/bucket/topic.go", "if tk.After(t.newest.Position) {", "if tk.Epoch > 0 {"},
		{"services/edge/internal/bucket/feed.go", "if t.ring == nil && !h.After(t.newest.Position) {", "if h.Epoch == 0 {"},
	}, 1, "kill a router", false},
	{"a router takes ticks that are not newer", []edit{
		{"services/router/internal/table/table.go", "case !h.Position.After(e.Position):", "case h.Epoch == 0:"},
	}, 1, "an old tick comes late", false},
	{"an ingest begins no new epoch", []edit{
		{"services/ingest/internal/lease/term.go", "epoch := max(old+1, highest+1, t.l.seen.Load()+1, uint64(max(t.l.o.Now().Unix(), 0)))", "epoch := max(old, highest, t.l.seen.Load(), 1)"},
	}, 1, "kill the leading ingest", false},
	{"a leader goes on when another leads", []edit{
		{"services/ingest/internal/lease/lease.go", "if term.epoch != 0 && l.seen.Load() > term.epoch {", "if term.epoch == 1 {"},
		{"services/ingest/internal/lease/lease.go", "case err != nil:\n\t\t\treturn err\n", "case err != nil:\n\t\t\tanswered = true\n"},
		{"services/ingest/internal/lease/lease.go", "late > grace && !l.paused {", "late > 1000*grace && !l.paused {"},
	}, 1, "pause the leading ingest past its lease|kill a router", false},
	{"a registry removes interest as soon as a lease has run out", []edit{
		{"services/registry/internal/reaper/reaper.go", "err = r.declare(ctx, e, !declared)\n", "if err = r.declare(ctx, e, !declared); err == nil {\n\t\t\t\terr = r.remove(ctx, e)\n\t\t\t}\n"},
	}, 1, "pause an edge past its lease", false},
	{"a router never reads TICKS again", []edit{
		{"services/router/filler.go", "func (f *filler) ask(reason string) {\n", "func (f *filler) ask(reason string) {\n\tif reason != \"\" {\n\t\treturn\n\t}\n"},
	}, 1, "cut all routers off|cut the far region's router off", false},
	{"a router does not compare with what beats count", []edit{
		{"services/router/internal/route/router.go", "if n := r.tally.beat(b); n > 0 {", "if n := r.tally.beat(b); n > 1<<40 {"},
	}, 1, "link", false},
	{"an edge never asks for newest again", []edit{
		{"services/edge/internal/bucket/feed.go", "func (f *feed) resync(b *Bucket, now int64) {\n", "func (f *feed) resync(b *Bucket, now int64) {\n\tif now != 0 {\n\t\treturn\n\t}\n"},
	}, 1, "cut (all edges|an edge) off", false},
	{"an edge tells of no gap", []edit{
		{"services/edge/internal/bucket/ring.go", "func gaps(p tick.Position, t *tick.Tick) []gap {\n", "func gaps(p tick.Position, t *tick.Tick) []gap {\n\tif p.Epoch > 0 {\n\t\treturn nil\n\t}\n"},
	}, 1, "kill all servers$|power loss|cut all edges off", false},
	{"views of the KV are never confirmed", []edit{
		{"libs/kvview/confirm.go", "why := v.why\n", "why := v.why\n\tif v.live != nil {\n\t\tv.nextConfirm = time.Now().Add(time.Hour)\n\t\treturn false\n\t}\n"},
	}, 1, "kill all servers$|stop an edge while no router hears of it", false},

	// Nobody may set a machine's clock for a test. What the wall clock is to an ingest, its lease and its stamps, is one line.
	{"every second ingest has a clock that is an hour ahead", []edit{
		{"services/ingest/run.go", "return time.Now().Round(0)", "return time.Now().Round(0).Add(time.Duration(os.Getpid()%2) * time.Hour)"},
		{"services/ingest/run.go", "\t\"fmt\"\n\t\"strings\"\n", "\t\"fmt\"\n\t\"os\"\n\t\"strings\"\n"},
	}, 1, "ing ingest|an ingest", true},
}

// TestMutants builds each and demands that blows show it, or show nothing where the build is right.
func TestMutants(t *testing.T) {
	only, err := regexp.Compile(*mutantsFlag)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutants {
		t.Run(strings.ReplaceAll(m.name, " ", "-"), func(t *testing.T) {
			overlay := m.overlay(t)
			if *mutantsFlag == "" || !only.MatchString(m.name) {
				return // its edits fit, which is something
			}
			began := time.Now()
			out, err := chaos(t, m.seed, mutantTime, m.only, "GOFLAGS=-overlay="+overlay)
			took := time.Since(began).Round(time.Second)
			caught := caughtBy.FindString(out)
			switch {
			case m.right && err != nil:
				t.Errorf("seed %d of %q: %v:\n%s", m.seed, m.only, err, out)
			case m.right:
			case err == nil:
				t.Errorf("not caught in %s by seed %d of %q", took, m.seed, m.only)
			case caught == "":
				t.Errorf("%v:\n%s", err, out)
			default:
				t.Logf("caught after %s, seed %d of %q:\n%s", took, m.seed, m.only, caught)
			}
		})
	}
}

// chaos runs TestChaos in a process of its own.
func chaos(t *testing.T, seed uint64, length time.Duration, only string, env ...string) (out string, err error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestChaos$", "-test.v", "-test.timeout=10m",
		"-for="+length.String(), "-seed="+strconv.FormatUint(seed, 10), "-only="+only)
	cmd.Env = append(os.Environ(), env...)
	p, err := cmd.CombinedOutput()
	return string(p), err
}

// caughtBy is what TestChaos says of what must not be.
var caughtBy = regexp.MustCompile(`(?m)^.*(seed \d+, blow \d+, after|not well before the first blow).*\n.*$`)

// overlay writes the edited files and the file by which go build takes them in place of the true ones.
func (m *mutant) overlay(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	replace := map[string]string{}
	for i, e := range m.edits {
		file, err := filepath.Abs(filepath.Join("..", "..", filepath.FromSlash(e.file)))
		if err != nil {
			t.Fatal(err)
		}
		from := file
		if edited, ok := replace[file]; ok {
			from = edited
		}
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), e.old); n != 1 {
			t.Fatalf("%s: %q occurs %d times, want once", e.file, e.old, n)
		}
		to := filepath.Join(dir, strconv.Itoa(i)+".go")
		if err := os.WriteFile(to, []byte(strings.Replace(string(text), e.old, e.new, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[file] = to
	}
	p, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, p, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
