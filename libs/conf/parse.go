package conf

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"

	"github.com/alecthomas/kong"
)

// ErrHelp is returned by [Parse] after --help was asked for and printed: there is nothing
// more to do, and nothing is wrong.
var ErrHelp = errors.New("help was printed")

// The commands that Parse returns.
const (
	CommandRun    = "run"    // run the service; what is meant when no command is given
	CommandHealth = "health" // ask the running service whether it is ready
)

// grammar is what the command line has besides the service's flags.
type grammar struct {
	Run    struct{} `cmd:"" default:"1" help:"Run the service (what happens without a command)."`
	Health struct{} `cmd:"" help:"Ask the running service: exit 0 when it is ready, 1 with the reason when not."`
}

// Parse fills cfg, a pointer to a service's Config, from defaults, the environment and
// args (os.Args[1:]), of which the later wins, and returns the command: [CommandRun] or
// [CommandHealth]. vars are the ${name} of the tags; nats, region and ops have values if
// not given. --help prints to stdout and gives [ErrHelp].
//
// An error may hold several faults, joined, each naming its flag or variable: all that
// Validate of cfg and of its embedded parts report, and every TICKFAN_ variable that means
// nothing (see [UnknownEnv]). A value that cannot be read at all (an unknown flag, a number
// that is none) comes before Validate has anything to judge.
func Parse(service, description string, cfg any, args []string, vars map[string]string) (cmd string, err error) {
	return parse(service, description, cfg, args, vars, os.Stdout)
}

func parse(service, description string, cfg any, args []string, vars map[string]string, stdout io.Writer) (string, error) {
	helped := false
	parser, err := newParser(service, description, cfg, vars,
		kong.Writers(stdout, stdout),
		kong.ValueFormatter(showDefault),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.Exit(func(int) { helped = true }),
	)
	if err != nil {
		return "", err
	}
	ctx, err := parser.Parse(args)
	if helped {
		return "", ErrHelp
	}
	if err == nil { // what cannot be read names its flag by itself
		err = validate(cfg)
	}
	if err := errors.Join(err, UnknownEnv(os.Environ(), cfg)); err != nil {
		return "", err
	}
	return ctx.Command(), nil
}

func newParser(service, description string, cfg any, vars map[string]string, more ...kong.Option) (*kong.Kong, error) {
	values := kong.Vars{"nats": "nats://127.0.0.1:4222", "region": "local", "ops": ":9090", "log_level": "info"}
	maps.Copy(values, vars)
	parser, err := kong.New(&grammar{}, append([]kong.Option{
		kong.Name(service),
		kong.Description(description),
		kong.Embed(cfg),
		values,
		kong.PostBuild(nameEnv),
	}, more...)...)
	if err != nil {
		return nil, fmt.Errorf("read flags of %s: %w", service, err)
	}
	return parser, nil
}

// nameEnv gives every flag its variable. kong's own DefaultEnvars splits a name wherever a
// digit begins, so that a variable could not be told from its flag.
func nameEnv(k *kong.Kong) error {
	for _, flag := range k.Model.Flags {
		if flag.Name != "help" && len(flag.Envs) == 0 {
			flag.Envs = []string{envName(flag.Name)}
			flag.Value.Tag.Envs = flag.Envs
		}
	}
	return nil
}

// showDefault ends a flag's help with its variable and, where a placeholder stands in the
// default's place, its default.
func showDefault(value *kong.Value) string {
	help := kong.DefaultHelpValueFormatter(value)
	if value.Flag == nil || value.Flag.PlaceHolder == "" || value.Default == "" {
		return help
	}
	return fmt.Sprintf("%s Default: %s.", help, value.Default)
}
