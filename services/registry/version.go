package registry

import (
	"runtime/debug"
	"strings"
)

// version is that of the build, semantic as the micro service wants it and without the v: the module's, else 0.0.0 with
// the commit, else with a word that says that nothing is known.
func version(info *debug.BuildInfo, ok bool) string {
	if !ok {
		return unversioned + "unknown"
	}
	if v, tagged := strings.CutPrefix(info.Main.Version, "v"); tagged {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && s.Value != "" {
			return unversioned + "g" + s.Value[:min(len(s.Value), 12)] // a number may not begin with 0
		}
	}
	return unversioned + "devel"
}

const unversioned = "0.0.0-"
