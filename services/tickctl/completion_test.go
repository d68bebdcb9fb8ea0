package tickctl

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestCompletionCode(t *testing.T) {
	for shell, says := range map[string]string{"bash": "complete -o default -o bashdefault -C ", "zsh": "bashcompinit", "fish": "complete -f -c tickctl"} {
		code, out, err := run(t, "", "completion", shell)
		if code != exitDone || err != "" || !strings.Contains(out, says) || !strings.Contains(out, "tickctl") {
			t.Errorf("%s: code %d, err %q, out %q", shell, code, err, out)
		}
	}
	if code, _, err := run(t, "", "completion", "tcsh"); code != exitUsage || !strings.Contains(err, "bash") {
		t.Errorf("code %d, err %q", code, err)
	}
}

// What a shell asks by COMP_LINE is answered with what may stand there next.
func TestCompletion(t *testing.T) {
	for line, want := range map[string][]string{
		"tickctl dr":                  {"drain"},
		"tickctl st":                  {"status"},
		"tickctl completion ":         {"bash", "fish", "zsh"},
		"tickctl drain edge --no":     {"--no-wait"},
		"tickctl watch BTC-USD --max": {"--max-rate"},
	} {
		t.Setenv("COMP_LINE", line)
		code, out, err := run(t, "")
		got := strings.Fields(out)
		slices.Sort(got)
		if code != exitDone || err != "" || !slices.Equal(got, want) {
			t.Errorf("%q: code %d, err %q, got %q", line, code, err, got)
		}
	}
}

// Bash takes the code that it is given.
func TestCompletionInBash(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal(err) // make needs it, too
	}
	code, out, _ := run(t, "", "completion", "bash")
	cmd := exec.Command(bash, "-c", out+"\ncomplete -p tickctl")
	cmd.Env = os.Environ()
	answer, err := cmd.CombinedOutput()
	if code != exitDone || err != nil || !strings.Contains(string(answer), "tickctl") {
		t.Errorf("code %d, %v: %s", code, err, answer)
	}
}
