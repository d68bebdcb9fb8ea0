package arch

import (
	"go/ast"
	"slices"
)

// use gives a fault for each shipped file outside dirs that uses one of the names of pkg.
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

// pricesAreNoFloats: a price keeps its digits from its publisher to the client. The generator invents its own.
func pricesAreNoFloats(t *tree) []string {
	floats := []string{"float32", "float64", "ParseFloat", "FormatFloat", "AppendFloat"}
	var faults []string
	for _, f := range t.product() {
		if !f.in("proto", "services/ingest/internal") || f.in("services/ingest/internal/source/generator") {
			continue
		}
		ast.Inspect(f.File, func(n ast.Node) bool {
			if name, ok := n.(*ast.Ident); ok && slices.Contains(floats, name.Name) {
				faults = append(faults, f.at(name.Pos(), "%s: a price is text or an integer", name.Name))
			}
			return true
		})
	}
	return faults
}
