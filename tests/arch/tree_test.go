package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strconv"
	"strings"
)

// top is the path of the root module. Those of the other modules are top and their folder.
const top = "github.com/tickfan/tickfan"

// tree is the repository: its Go files parsed, its module files as text.
type tree struct {
	fset  *token.FileSet
	files []*file           // by path
	mods  map[string][]byte // go.mod and go.work, by path
}

// file is one Go file.
type file struct {
	tree *tree
	path string // from the top: services/edge/run.go
	dir  string // services/edge
	test bool   // *_test.go
	*ast.File
}

// load reads the repository that lies in fsys.
func load(fsys fs.FS) (*tree, error) {
	t := &tree{fset: token.NewFileSet(), mods: map[string][]byte{}}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		if d.IsDir() {
			if name != "." && (strings.HasPrefix(base, ".") || base == "testdata" || base == "bin") {
				return fs.SkipDir
			}
			return nil
		}
		isMod := base == "go.mod" || base == "go.work"
		if !isMod && path.Ext(name) != ".go" {
			return nil
		}
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		if isMod {
			t.mods[name] = text
			return nil
		}
		parsed, err := parser.ParseFile(t.fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		t.files = append(t.files, &file{tree: t, path: name, dir: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), File: parsed})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load tree: %w", err)
	}
	return t, nil
}

// product gives the files that are shipped: no tests, and nothing in tests/.
func (t *tree) product() []*file {
	return slices.DeleteFunc(slices.Clone(t.files), func(f *file) bool { return f.test || f.in("tests") })
}

// in tells whether the file lies in one of the folders, however deep.
func (f *file) in(dirs ...string) bool { return within(f.dir, dirs...) }

func within(dir string, of ...string) bool {
	return slices.ContainsFunc(of, func(d string) bool { return dir == d || strings.HasPrefix(dir, d+"/") })
}

// at names a place in the file, and what is wrong there.
func (f *file) at(pos token.Pos, format string, args ...any) string {
	return fmt.Sprintf("%s:%d: %s", f.path, f.tree.fset.Position(pos).Line, fmt.Sprintf(format, args...))
}

// imports calls visit with each import of the file.
func (f *file) imports(visit func(path string, spec *ast.ImportSpec)) {
	for _, spec := range f.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			visit(p, spec)
		}
	}
}

// names of packages that are not the last element of their path.
var names = map[string]string{
	"github.com/nats-io/nats.go": "nats",
	top + "/libs/sdk/go":         "tickfan",
}

// name is what the file calls a package that it imports; "" if it does not import it.
func (f *file) name(pkg string) string {
	name := ""
	f.imports(func(p string, spec *ast.ImportSpec) {
		switch {
		case p != pkg:
		case spec.Name != nil:
			name = spec.Name.Name
		default:
			name = defaultName(p)
		}
	})
	return name
}

// defaultName is what a package is called by who imports it without a name of his own.
func defaultName(pkg string) string {
	if names[pkg] != "" {
		return names[pkg]
	}
	dir, last := path.Split(pkg)
	if version, ok := strings.CutPrefix(last, "v"); ok && dir != "" {
		if _, err := strconv.Atoi(version); err == nil {
			return path.Base(dir)
		}
	}
	return last
}

// uses calls visit with each use of a name of package pkg: nats.Connect is Connect of nats.
func (f *file) uses(pkg string, visit func(*ast.SelectorExpr)) {
	name := f.name(pkg)
	if name == "" {
		return
	}
	ast.Inspect(f.File, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == name {
				visit(sel)
			}
		}
		return true
	})
}

// standard tells a package of the standard library.
func standard(pkg string) bool {
	first, _, _ := strings.Cut(pkg, "/")
	return !strings.Contains(first, ".")
}

// local gives the folder of a package of ours.
func local(pkg string) (dir string, ok bool) {
	if pkg == top {
		return ".", true
	}
	return strings.CutPrefix(pkg, top+"/")
}

// tags gives the tags of all struct fields in the file.
func (f *file) tags() iter.Seq[string] {
	return func(yield func(string) bool) {
		for n := range ast.Preorder(f.File) {
			if field, ok := n.(*ast.Field); ok && field.Tag != nil && !yield(field.Tag.Value) {
				return
			}
		}
	}
}
