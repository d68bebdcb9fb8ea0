package arch

import (
	"go/ast"
	"strings"
)

// Packages of others that a rule names.
const (
	natsPath    = "github.com/nats-io/nats.go"
	serverPath  = "github.com/nats-io/nats-server"
	gwsPath     = "github.com/lxzan/gws"
	msgpackPath = "github.com/vmihailenco/msgpack/v5"
	goleakPath  = "go.uber.org/goleak"
)

// imports gives a fault for each import, in the files that of chooses, that allowed refuses.
func (t *tree) imports(of func(*file) bool, allowed func(f *file, pkg string) bool, why string) []string {
	var faults []string
	for _, f := range t.files {
		if !of(f) {
			continue
		}
		f.imports(func(pkg string, spec *ast.ImportSpec) {
			if !allowed(f, pkg) {
				faults = append(faults, f.at(spec.Pos(), "imports %s: %s", pkg, why))
			}
		})
	}
	return faults
}

// The contract is light for outsiders: the standard library, msgpack and itself.
func protoImportsLittle(t *tree) []string {
	return t.imports(func(f *file) bool { return f.in("proto") }, func(f *file, pkg string) bool {
		return standard(pkg) || within(pkg, msgpackPath, top+"/proto")
	}, "proto/ has only the standard library and msgpack")
}

// So is the client.
func sdkImportsLittle(t *tree) []string {
	return t.imports(func(f *file) bool { return f.in("libs/sdk/go") }, func(f *file, pkg string) bool {
		return standard(pkg) || within(pkg, gwsPath, msgpackPath, top+"/proto", top+"/libs/sdk/go") || f.test && pkg == goleakPath
	}, "the SDK has only the standard library, gws, msgpack and proto/")
}

// A lib that knew a service could not be used by another.
func libsKnowNoService(t *tree) []string {
	return t.imports(func(f *file) bool { return f.in("libs") }, func(f *file, pkg string) bool {
		return !within(pkg, top+"/services")
	}, "libs/ knows no service")
}

// Services meet on NATS. Only dev runs the four others.
func servicesKnowNoOther(t *tree) []string {
	return t.imports(func(f *file) bool { return f.in("services") }, func(f *file, pkg string) bool {
		dir, ok := local(pkg)
		if !ok || !within(dir, "services") {
			return true
		}
		return service(dir) == service(f.dir) || f.in("services/dev") && runByDev(dir)
	}, "services know no other service; they meet on NATS")
}

// service is the first folder below services/.
func service(dir string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(dir, "services/"), "/")
	return name
}

// runByDev tells the packages that dev may import.
func runByDev(dir string) bool {
	return dir == "services/ingest" || dir == "services/router" || dir == "services/registry" || dir == "services/edge"
}

// tests/ is a module of heavy dependencies, which stay there.
func nothingKnowsTheTests(t *tree) []string {
	return t.imports(func(f *file) bool { return !f.in("tests") }, func(f *file, pkg string) bool {
		return !within(pkg, top+"/tests")
	}, "what is in tests/ stays there")
}

// The other rules tell by its prefix where a name comes from.
func noDotImports(t *tree) []string {
	var faults []string
	for _, f := range t.files {
		f.imports(func(pkg string, spec *ast.ImportSpec) {
			if spec.Name != nil && spec.Name.Name == "." {
				faults = append(faults, f.at(spec.Pos(), "imports %s without a name", pkg))
			}
		})
	}
	return faults
}

// nats-server makes a binary 15 MB larger: no service but dev has it, by way of libs/natsd.
func onlyNatsdHasTheServer(t *tree) []string {
	return t.imports(func(f *file) bool { return !f.in("libs/natsd", "tests") }, func(f *file, pkg string) bool {
		return !within(pkg, serverPath)
	}, "libs/natsd runs nats-server")
}
