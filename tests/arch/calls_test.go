package arch

import (
	"go/ast"
	"slices"
)

// use gives a fault for each shipped file outside dirs that uses one of the names of pkg; no names are all.
func (t *tree) use(pkg string, dirs []string, names []string, why string) []string {
	var faults []string
	for _, f := range t.product() {
		if f.in(dirs...) {
			continue
		}
		f.uses(pkg, func(sel *ast.SelectorExpr) {
			if slices.Contains(names, sel.Sel.Name) {
				faults = append(faults, f.at(sel.Pos(), "%s.%s: %s", f.name(pkg), sel.Sel.Name, why))
			}
		})
	}
	return faults
}

// Dev wires nothing itself: of a service it knows what a command of that service knows.
func devOnlyRuns(t *tree) []string {
	allowed := []string{"Config", "Options", "Defaults", "Deps", "Run"}
	var faults []string
	for _, f := range t.product() {
		if !f.in("services/dev") {
			continue
		}
		f.imports(func(pkg string, _ *ast.ImportSpec) {
			dir, _ := local(pkg)
			if !runByDev(dir) {
				return
			}
			f.uses(pkg, func(sel *ast.SelectorExpr) {
				if !slices.Contains(allowed, sel.Sel.Name) {
					faults = append(faults, f.at(sel.Pos(), "%s.%s: dev uses only %v of a service", f.name(pkg), sel.Sel.Name, allowed))
				}
			})
		})
	}
	return faults
}

// One place sets names, reconnects, buffers and handlers for every connection.
func onlyBusDials(t *tree) []string {
	return t.use(natsPath, []string{"libs/bus"}, []string{"Connect", "Options", "GetDefaultOptions"}, "libs/bus dials NATS")
}

// Clients' sockets are the edge's.
func onlyEdgeUpgrades(t *tree) []string {
	return t.use(gwsPath, []string{"services/edge"}, []string{"NewUpgrader", "NewServer"}, "the edge takes clients' sockets")
}

// onlyMainExits: elsewhere an error is returned, so that everything in between is closed.
func onlyMainExits(t *tree) []string {
	var faults []string
	for _, f := range t.product() {
		if f.Name.Name == "main" {
			continue
		}
		for _, pkg := range []string{"os", "syscall", "log"} {
			f.uses(pkg, func(sel *ast.SelectorExpr) {
				switch sel.Sel.Name {
				case "Exit", "Fatal", "Fatalf", "Fatalln":
					faults = append(faults, f.at(sel.Pos(), "%s.%s: only main ends the process", pkg, sel.Sel.Name))
				}
			})
		}
	}
	return faults
}
