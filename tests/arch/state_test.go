package arch

import (
	"go/ast"
	"go/token"
	"go/types"
	"maps"
	"slices"
	"strings"
)

// What happens before main cannot be tested, configured or stopped.
func noInit(t *tree) []string {
	var faults []string
	for _, f := range t.product() {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				faults = append(faults, f.at(fn.Pos(), "func init"))
			}
		}
	}
	return faults
}

// noPackageState: a package's variables are errors and tables. Such a variable has its value from the start and no
// function changes it, takes its address, or could change it behind a lock or a channel.
func noPackageState(t *tree) []string {
	var faults []string
	byDir := t.packages()
	for _, dir := range slices.Sorted(maps.Keys(byDir)) {
		if !within(dir, "tests") {
			faults = append(faults, stateOf(t, byDir[dir])...)
		}
	}
	return faults
}

func stateOf(t *tree, files []*file) []string {
	var faults []string
	variables, uses := resolve(t, files)
	for _, f := range files {
		if f.test {
			continue
		}
		for _, d := range f.Decls {
			decl, ok := d.(*ast.GenDecl)
			if !ok || decl.Tok != token.VAR {
				continue
			}
			for _, s := range decl.Specs {
				spec := s.(*ast.ValueSpec)
				if why := f.mutable(spec); why != "" {
					faults = append(faults, f.at(spec.Pos(), "%s %s", spec.Names[0].Name, why))
				}
			}
		}
	}
	for _, f := range files {
		f.changes(func(root *ast.Ident) {
			object := uses[root]
			if _, ok := object.(*types.PkgName); ok && !f.test {
				faults = append(faults, f.at(root.Pos(), "changes a variable of package %s, or takes its address", root.Name))
			}
			if variables[object] {
				faults = append(faults, f.at(root.Pos(), "changes %s, a variable of the package, or takes its address", root.Name))
			}
		})
	}
	return faults
}

// mutable says why a variable cannot be a constant in all but name; "" if it can.
func (f *file) mutable(spec *ast.ValueSpec) string {
	if len(spec.Values) == 0 && !f.isNamed(spec.Type, "embed", "FS") && !f.isNamed(spec.Type, "time", "Time") {
		return "has no value: something must set it later"
	}
	why := ""
	inspect := func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.ChanType:
			why = "is a channel"
		case *ast.CallExpr:
			if fun, ok := n.Fun.(*ast.Ident); ok && (fun.Name == "make" || fun.Name == "new") {
				why = "is made empty: something must fill it later"
			}
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && (x.Name == f.name("sync") || x.Name == f.name("sync/atomic")) {
				why = "holds something of " + x.Name
			}
		}
		return true
	}
	if spec.Type != nil && spec.Names[0].Name != "_" {
		ast.Inspect(spec.Type, inspect)
	}
	for _, v := range spec.Values {
		ast.Inspect(v, inspect)
	}
	return why
}

func (f *file) isNamed(typ ast.Expr, pkg, name string) bool {
	sel, ok := typ.(*ast.SelectorExpr)
	if !ok || sel.Sel.Name != name {
		return false
	}
	x, ok := sel.X.(*ast.Ident)
	return ok && x.Name == f.name(pkg)
}

// changes calls visit with what stands at the root of all that is assigned to, counted up, deleted from, cleared or has
// its address taken: x of x.f[i] = 1.
func (f *file) changes(visit func(root *ast.Ident)) {
	changed := func(x ast.Expr) {
		for {
			switch e := x.(type) {
			case *ast.ParenExpr:
				x = e.X
			case *ast.SelectorExpr:
				x = e.X
			case *ast.IndexExpr:
				x = e.X
			case *ast.SliceExpr:
				x = e.X
			case *ast.StarExpr:
				x = e.X
			case *ast.Ident:
				visit(e)
				return
			default:
				return
			}
		}
	}
	ast.Inspect(f.File, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE {
				for _, x := range n.Lhs {
					changed(x)
				}
			}
		case *ast.IncDecStmt:
			changed(n.X)
		case *ast.RangeStmt:
			if n.Tok == token.ASSIGN {
				changed(n.Key)
				changed(n.Value)
			}
		case *ast.UnaryExpr:
			if n.Op == token.AND {
				changed(n.X)
			}
		case *ast.CallExpr:
			if fun, ok := n.Fun.(*ast.Ident); ok && len(n.Args) > 0 && slices.Contains([]string{"delete", "clear", "copy"}, fun.Name) {
				changed(n.Args[0])
			}
		}
		return true
	})
}

// resolve gives the package's variables, and for each identifier the object that it means. What is in the imports stays
// unknown, which is enough to tell a package's variable from a local one of the same name.
func resolve(t *tree, files []*file) (variables map[types.Object]bool, uses map[*ast.Ident]types.Object) {
	variables, uses = map[types.Object]bool{}, map[*ast.Ident]types.Object{}
	var inside []*ast.File
	shipped := map[string]bool{}
	for _, f := range files {
		if !strings.HasSuffix(f.Name.Name, "_test") { // a test from outside can change only what is exported
			inside = append(inside, f.File)
			shipped[f.path] = !f.test
		}
	}
	check := types.Config{Importer: unknown{}, Error: func(error) {}, FakeImportC: true}
	pkg, _ := check.Check(files[0].dir, t.fset, inside, &types.Info{Uses: uses}) // full of errors about imports
	scope := pkg.Scope()
	for _, name := range scope.Names() {
		if v, ok := scope.Lookup(name).(*types.Var); ok && shipped[t.fset.Position(v.Pos()).Filename] {
			variables[v] = true
		}
	}
	return variables, uses
}

// unknown is an importer of packages of which only the name is known.
type unknown struct{}

func (unknown) Import(pkg string) (*types.Package, error) {
	p := types.NewPackage(pkg, defaultName(pkg))
	p.MarkComplete()
	return p, nil
}
