package conf

import (
	"slices"

	"github.com/alecthomas/kong"
)

// Setting is a flag of a command, as its --help tells it.
type Setting struct {
	Command  string // "edge", "tickctl pub"
	Flag     string // "--log-level"
	Variable string // "TICKFAN_LOG_LEVEL"; "" where none is read
	Default  string // "" where there is none
	Help     string
}

// Settings lists the flags of a service in their order; cfg and vars are those given to [Parse].
func Settings(service string, cfg any, vars map[string]string) ([]Setting, error) {
	parser, err := newParser(service, "", cfg, vars)
	if err != nil {
		return nil, err
	}
	return SettingsOf(parser.Model), nil
}

// SettingsOf lists the flags of any command line, those of its commands after its own.
func SettingsOf(model *kong.Application) []Setting { return settings(model.Name, model.Node) }

func settings(command string, node *kong.Node) []Setting {
	var all []Setting
	for _, f := range node.Flags {
		if f.Name == "help" || f.Hidden {
			continue
		}
		s := Setting{Command: command, Flag: "--" + f.Name, Default: f.Default, Help: f.Help}
		if len(f.Envs) > 0 {
			s.Variable = f.Envs[0]
		}
		all = append(all, s)
	}
	for _, child := range node.Children {
		all = slices.Concat(all, settings(command+" "+child.Name, child))
	}
	return all
}
