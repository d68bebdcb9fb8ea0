package tickctl

import (
	"github.com/alecthomas/kong"
	kongcompletion "github.com/jotaen/kong-completion"
)

type completion struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help is what kong shows beneath the flags.
func (*completion) Help() string {
	return `In bash and zsh, e.g. in ~/.bashrc or ~/.zshrc:

  source <(tickctl completion bash)

In fish:

  tickctl completion fish >~/.config/fish/completions/tickctl.fish`
}

// Run prints code that has the shell ask this program, where it stands now, what may come next.
func (c *completion) Run(ctx *kong.Context) error {
	return (&kongcompletion.Completion{Shell: c.Shell, Code: true}).Run(ctx)
}
