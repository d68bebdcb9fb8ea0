package arch

import (
	"fmt"
	"go/ast"
	"maps"
	"path"
	"slices"
	"strings"
)

// packages groups the files by folder.
func (t *tree) packages() map[string][]*file {
	byDir := map[string][]*file{}
	for _, f := range t.files {
		byDir[f.dir] = append(byDir[f.dir], f)
	}
	return byDir
}

// A package says in doc.go what it is for, a command above its package clause.
func packagesAreDescribed(t *tree) []string {
	var faults []string
	byDir := t.packages()
	for _, dir := range slices.Sorted(maps.Keys(byDir)) {
		files, name := byDir[dir], ""
		described := false
		for _, f := range files {
			if !f.test {
				name = f.Name.Name
			}
			doc := f.Doc.Text()
			switch {
			case f.test:
			case name == "main":
				described = described || strings.HasPrefix(doc, "Command "+path.Base(dir)+" ")
			case path.Base(f.path) == "doc.go":
				described = described || strings.HasPrefix(doc, "Package "+name+" ")
			case doc != "":
				faults = append(faults, f.at(f.Doc.Pos(), "a package comment outside of doc.go"))
			}
		}
		switch {
		case described:
		case name == "main":
			faults = append(faults, fmt.Sprintf("%s: no comment \"Command %s ...\" above package main", dir, path.Base(dir)))
		default:
			faults = append(faults, fmt.Sprintf("%s: no doc.go with a comment \"Package %s ...\"", dir, name))
		}
	}
	return faults
}

// A package has a name that a user would say.
func packagesAreNamed(t *tree) []string {
	saysNothing := []string{"util", "utils", "common", "helper", "helpers", "misc", "shared", "types", "base"}
	var faults []string
	for _, f := range t.files {
		if slices.Contains(saysNothing, f.Name.Name) {
			faults = append(faults, f.at(f.Name.Pos(), "package %s: the name says nothing", f.Name.Name))
		}
	}
	return faults
}

const mostLines = 700

func filesAreShort(t *tree) []string {
	var faults []string
	for _, f := range t.files {
		if n := t.fset.File(f.FileStart).LineCount(); n > mostLines {
			faults = append(faults, fmt.Sprintf("%s: %d lines, split it; %d at most", f.path, n, mostLines))
		}
	}
	return faults
}

// A test waits by trying a condition again until a deadline. In a bubble of testing/synctest time is not real, and a
// sleep is exact.
func testsDoNotSleep(t *tree) []string {
	var faults []string
	for _, f := range t.files {
		if !f.test && !f.in("tests") {
			continue
		}
		bubbles := f.bubbles()
		f.uses("time", func(sel *ast.SelectorExpr) {
			inside := func(bubble ast.Node) bool { return bubble.Pos() <= sel.Pos() && sel.End() <= bubble.End() }
			if sel.Sel.Name == "Sleep" && !slices.ContainsFunc(bubbles, inside) {
				faults = append(faults, f.at(sel.Pos(), "a sleep outside of a synctest bubble: wait for a condition with a deadline"))
			}
		})
	}
	return faults
}

// bubbles gives the functions handed to synctest.Test.
func (f *file) bubbles() []ast.Node {
	name := f.name("testing/synctest")
	var all []ast.Node
	ast.Inspect(f.File, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || name == "" {
			return true
		}
		if sel, ok := call.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Test" && len(call.Args) == 2 {
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == name {
				if body, ok := call.Args[1].(*ast.FuncLit); ok {
					all = append(all, body)
				}
			}
		}
		return true
	})
	return all
}

// Where goroutines are started and tests are run, TestMain looks for those that stayed.
func leaksAreFound(t *tree) []string {
	var faults []string
	byDir := t.packages()
	for _, dir := range slices.Sorted(maps.Keys(byDir)) {
		var starts string
		tested, checked := false, false
		for _, f := range byDir[dir] {
			tested = tested || f.test
			ast.Inspect(f.File, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.GoStmt:
					starts = f.at(n.Pos(), "starts a goroutine")
				case *ast.CallExpr:
					if sel, ok := n.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Go" {
						starts = f.at(n.Pos(), "starts a goroutine")
					}
				case *ast.FuncDecl:
					checked = checked || f.test && n.Recv == nil && n.Name.Name == "TestMain" && f.verifiesLeaks(n)
				}
				return true
			})
		}
		if starts != "" && tested && !checked {
			faults = append(faults, starts+", and no TestMain of the package calls natstest.Main or goleak")
		}
	}
	return faults
}

func (f *file) verifiesLeaks(in ast.Node) bool {
	found := false
	for pkg, name := range map[string]string{top + "/libs/natstest": "Main", goleakPath: "VerifyTestMain"} {
		f.uses(pkg, func(sel *ast.SelectorExpr) {
			found = found || sel.Sel.Name == name && in.Pos() <= sel.Pos() && sel.End() <= in.End()
		})
	}
	return found
}
