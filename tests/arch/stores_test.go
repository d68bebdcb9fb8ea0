package arch

import (
	"go/ast"
	"go/token"
	"slices"
	"strconv"
	"strings"
)

const (
	subjectPath   = top + "/proto/subject"
	jetstreamPath = natsPath + "/jetstream"
)

// oneWriterPerStore: the registry writes EDGES and INTEREST, ingest LEADER and TICKS. What cannot be told from syntax is
// which store a value of type jetstream.KeyValue is. So nobody else has such a value, or the subject under which a
// store's keys are written, and the two know only the names of their own stores.
func oneWriterPerStore(t *tree) []string {
	// Who may use a store's name. libs/interest and tickctl only read.
	stores := map[string][]string{
		"KVLeader":   {"services/ingest", "services/tickctl"},
		"KVEdges":    {"services/registry"},
		"KVInterest": {"services/registry", "libs/interest"},
	}
	writers := []string{"services/ingest", "services/registry"}
	// What gives or is a store that can be written, makes a stream or takes messages out of one.
	handles := []string{
		"KeyValue", "CreateKeyValue", "UpdateKeyValue", "CreateOrUpdateKeyValue", "DeleteKeyValue", "KeyValueManager",
		"CreateStream", "UpdateStream", "CreateOrUpdateStream", "DeleteStream", "AddStream",
		"Purge", "DeleteMsg", "SecureDeleteMsg",
	}

	var faults []string
	for _, f := range t.product() {
		f.uses(subjectPath, func(sel *ast.SelectorExpr) {
			if dirs, ok := stores[sel.Sel.Name]; ok && !f.in(dirs...) {
				faults = append(faults, f.at(sel.Pos(), "%s belongs to %v", sel.Sel.Name, dirs))
			}
		})
		ast.Inspect(f.File, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if slices.Contains(handles, n.Sel.Name) && !f.in(writers...) && !f.fromElsewhere(n.X) {
					faults = append(faults, f.at(n.Pos(), "%s: only %v write stores and streams", n.Sel.Name, writers))
				}
			case *ast.BasicLit:
				if n.Kind != token.STRING {
					return true
				}
				text, _ := strconv.Unquote(n.Value)
				switch {
				case slices.Contains([]string{"LEADER", "EDGES", "INTEREST", "TICKS"}, text) && f.dir != "proto/subject":
					faults = append(faults, f.at(n.Pos(), "%q: its name is in proto/subject", text))
				case strings.HasPrefix(text, "$KV.") && !f.in(append(writers, "libs/kvview")...): // kvview only reads
					faults = append(faults, f.at(n.Pos(), "%q: only %v write keys", text, writers))
				}
			}
			return true
		})
	}
	return faults
}

// fromElsewhere tells a name of an imported package that is not jetstream's, such as attribute.KeyValue.
func (f *file) fromElsewhere(x ast.Expr) bool {
	ident, ok := x.(*ast.Ident)
	if !ok {
		return false
	}
	elsewhere := false
	f.imports(func(pkg string, _ *ast.ImportSpec) {
		elsewhere = elsewhere || pkg != jetstreamPath && pkg != natsPath && f.name(pkg) == ident.Name
	})
	return elsewhere
}
