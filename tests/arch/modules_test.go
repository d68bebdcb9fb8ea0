package arch

import (
	"fmt"
	"maps"
	"path"
	"slices"

	"golang.org/x/mod/modfile"
)

// toolModules pin commands that tests run. They are not in go.work, where what they need would raise everybody's versions.
const toolModules = "tests/compose/tools"

// modulesAgree: all modules are in go.work, need the same Go, and find their siblings, which are not published, beside
// them.
func modulesAgree(t *tree) []string {
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }

	work, err := modfile.ParseWork("go.work", t.mods["go.work"], nil)
	if err != nil || work.Go == nil {
		return []string{fmt.Sprintf("go.work: no go line (%v)", err)}
	}
	var used []string
	for _, u := range work.Use {
		used = append(used, path.Clean(u.Path))
	}
	for _, name := range slices.Sorted(maps.Keys(t.mods)) {
		if path.Base(name) != "go.mod" {
			continue
		}
		dir := path.Dir(name)
		switch used, tool := slices.Contains(used, dir), within(dir, toolModules); {
		case used && tool:
			fault("%s: in go.work", name)
		case !used && !tool:
			fault("%s: not in go.work", name)
		}
		mod, err := modfile.Parse(name, t.mods[name], nil)
		if err != nil || mod.Go == nil || mod.Module == nil {
			fault("%s: no module or go line (%v)", name, err)
			continue
		}
		if mod.Go.Version != work.Go.Version || mod.Toolchain != nil || work.Toolchain != nil {
			fault("%s: go %s and go.work go %s: one version everywhere, and no toolchain line", name, mod.Go.Version, work.Go.Version)
		}
		if at, ok := local(mod.Module.Mod.Path); !ok || at != dir {
			fault("%s: module %s, want %s", name, mod.Module.Mod.Path, path.Join(top, dir))
		}
		for _, r := range mod.Require {
			sibling, ok := local(r.Mod.Path)
			if !ok {
				continue
			}
			if r.Mod.Version != "v0.0.0" {
				fault("%s: requires %s %s, which is not published; want v0.0.0", name, r.Mod.Path, r.Mod.Version)
			}
			if !slices.ContainsFunc(mod.Replace, func(p *modfile.Replace) bool {
				return p.Old.Path == r.Mod.Path && path.Join(dir, p.New.Path) == sibling
			}) {
				fault("%s: no replace of %s with its folder", name, r.Mod.Path)
			}
		}
	}
	for _, dir := range used {
		if _, ok := t.mods[path.Join(dir, "go.mod")]; !ok {
			fault("go.work: uses %s, which has no go.mod", dir)
		}
	}
	return faults
}
