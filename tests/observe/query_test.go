package observe

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// query is one that somebody made by hand, and the labels that he shows of its answer.
type query struct {
	at, expr string
	shows    []string
}

var (
	ofAlert    = regexp.MustCompile(`\$labels\.(\w+)`)
	ofVariable = regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)
)

func queries(t *testing.T) (all []query) {
	t.Helper()
	for _, d := range dashboards(t) {
		for _, v := range d.Templating.List {
			parts := ofVariable.FindStringSubmatch(v.Definition)
			if parts == nil {
				t.Fatalf("%s: variable %s is %q", d.file, v.Name, v.Definition)
			}
			all = append(all, query{at: d.file + ": $" + v.Name, expr: parts[1], shows: parts[2:]})
		}
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				expr := strings.NewReplacer("$__rate_interval", "1m", "$region", ".+").Replace(q.Expr)
				all = append(all, query{at: d.file + ": " + p.Title, expr: expr, shows: words(q.LegendFormat, "{{", "}}")})
			}
		}
	}
	for _, a := range alerts(t) {
		q := query{at: a.Alert, expr: a.Expr}
		for _, text := range a.Annotations {
			for _, m := range ofAlert.FindAllStringSubmatch(text, -1) {
				q.shows = append(q.shows, m[1])
			}
		}
		all = append(all, q)
	}
	return all
}

// A query for what nobody tells is an empty panel, or an alert that never comes.
func TestQueriesAskForWhatIsTold(t *testing.T) {
	all := queries(t)
	parsed := make([]parser.Expr, len(all))
	for i, q := range all {
		var err error
		if parsed[i], err = parse(q.expr); err != nil {
			t.Errorf("%s: %q: %v", q.at, q.expr, err)
		}
	}
	if t.Failed() {
		return
	}
	told(t, func(m metrics) (faults []string) {
		for i, q := range all {
			faults = append(faults, m.faults(q, parsed[i])...)
		}
		return faults
	})
	t.Logf("%d queries", len(all))
}

func TestFaultsAreFound(t *testing.T) {
	m := metrics{"things": set("job", "instance", "code"), "others": set("job"), "times_bucket": set("job", "le")}
	for expr, faulty := range map[string]bool{
		`sum by (code) (rate(things{job="x"}[5m]))`:                          false,
		`things / ignoring (code, instance) others`:                          false,
		`things > 3 or others`:                                               false,
		`histogram_quantile(0.9, sum by (job, le) (rate(times_bucket[5m])))`: false,
		`absent(others{job="x"} == 1)`:                                       false,
		`nothing`:                                                            true,
		`sum by (cod) (things)`:                                              true,
		`things{cod="x"}`:                                                    true,
		`things / others`:                                                    true,
		`sum(things) and others`:                                             true,
		`histogram_quantile(0.9, sum by (job) (rate(times_bucket[5m])))`:         true,
		`sum by (instance) (things) * on (job) group_left sum by (job) (others)`: true,
	} {
		e, err := parse(expr)
		if err != nil {
			t.Fatal(err)
		}
		q := query{at: "here", expr: expr}
		if faults := m.faults(q, e); (len(faults) > 0) != faulty {
			t.Errorf("%s: %q", expr, faults)
		}
		if q.shows = []string{"shown"}; len(m.faults(q, e)) == 0 {
			t.Errorf("%s shows a label that is not there", expr)
		}
	}
}

func parse(expr string) (parser.Expr, error) {
	return parser.NewParser(parser.Options{}).ParseExpr(expr)
}

// faults are what a query asks for and nobody tells.
func (all metrics) faults(q query, e parser.Expr) (faults []string) {
	a := asked{metrics: all}
	answer := a.labels(e)
	for _, l := range q.shows {
		if !answer[l] {
			a.fault("its answer has no label %s", l)
		}
	}
	for _, f := range a.faults {
		faults = append(faults, fmt.Sprintf("%s: %s: %s", q.at, f, q.expr))
	}
	return faults
}

// asked follows labels through an expression.
type asked struct {
	metrics
	faults []string
}

func (a *asked) fault(format string, args ...any) {
	a.faults = append(a.faults, fmt.Sprintf(format, args...))
}

// labels are those of an expression's answer.
func (a *asked) labels(e parser.Expr) labelSet {
	switch e := e.(type) {
	case *parser.VectorSelector:
		return a.selected(e)
	case *parser.MatrixSelector:
		return a.labels(e.VectorSelector)
	case *parser.ParenExpr:
		return a.labels(e.Expr)
	case *parser.AggregateExpr:
		return a.aggregated(e)
	case *parser.Call:
		return a.called(e)
	case *parser.BinaryExpr:
		return a.joined(e)
	case *parser.NumberLiteral:
		return labelSet{}
	}
	a.fault("this test does not know what %T does to labels", e)
	return labelSet{}
}

func (a *asked) selected(e *parser.VectorSelector) labelSet {
	l, known := a.metrics[e.Name]
	if !known {
		a.fault("no metric %s", e.Name)
		return labelSet{}
	}
	for _, m := range e.LabelMatchers {
		if m.Name != model.MetricNameLabel && !l[m.Name] {
			a.fault("%s has no label %s", e.Name, m.Name)
		}
	}
	return l
}

func (a *asked) aggregated(e *parser.AggregateExpr) labelSet {
	l := a.labels(e.Expr)
	for _, name := range e.Grouping {
		if !l[name] {
			a.fault("no label %s to group by", name)
		}
	}
	if e.Without {
		return minus(l, e.Grouping...)
	}
	return set(e.Grouping...)
}

func (a *asked) called(e *parser.Call) labelSet {
	l := labelSet{}
	for _, arg := range e.Args {
		l = union(l, a.labels(arg))
	}
	switch e.Func.Name {
	case "absent": // tells what a selector is sure of, and nothing of an expression
		l = labelSet{}
		if s, ok := e.Args[0].(*parser.VectorSelector); ok {
			for _, m := range s.LabelMatchers {
				l[m.Name] = m.Type == labels.MatchEqual
			}
		}
	case "histogram_quantile":
		if !l["le"] {
			a.fault("a quantile without the label le")
		}
		l = minus(l, "le")
	case "scalar", "vector":
		l = labelSet{}
	}
	return l
}

// joined gives what two answers have together. Those with other labels never meet.
func (a *asked) joined(e *parser.BinaryExpr) labelSet {
	l, r := a.labels(e.LHS), a.labels(e.RHS)
	m := e.VectorMatching
	switch {
	case m == nil: // one is a number
		return union(l, r)
	case e.Op == parser.LOR:
		return union(l, r)
	case m.On:
		for _, name := range m.MatchingLabels {
			if !l[name] || !r[name] {
				a.fault("no label %s to join on", name)
			}
		}
	case !maps.Equal(minus(l, m.MatchingLabels...), minus(r, m.MatchingLabels...)):
		a.fault("%s joins %v with %v", e.Op, slices.Sorted(maps.Keys(l)), slices.Sorted(maps.Keys(r)))
	}
	return l
}
