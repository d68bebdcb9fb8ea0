package report

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Report is the whole of one execution.
type Report struct {
	Began     time.Time  `json:"began"`
	Command   string     `json:"command"`
	Rounds    int        `json:"rounds"`
	Machine   []Fact     `json:"machine"`
	Failed    []string   `json:"failed,omitempty"` // runs that did not end, or in which a client was told something wrong
	Scenarios []Scenario `json:"scenarios"`
	Runs      []Run      `json:"runs"`
	Bars      []Panel    `json:"bars"` // of the picture
}

// Fact is a line about the machine.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Scenario is one line of what is to be reached, or several with the same letter.
type Scenario struct {
	ID      string     `json:"id"`
	Title   string     `json:"title"`
	Targets []Target   `json:"targets"`
	Head    []string   `json:"head,omitempty"` // of a table with more figures
	Rows    [][]string `json:"rows,omitempty"`
	Notes   []string   `json:"notes,omitempty"`
}

// State says whether a target is reached.
type State string

const (
	Reached     State = "yes"
	Missed      State = "no"
	NotMeasured State = "not measured"
	Told        State = "reported" // a figure without a limit
)

// Target is one figure that is to be reached.
type Target struct {
	What  string `json:"what"`
	Want  string `json:"want"`
	Got   string `json:"got"`
	State State  `json:"state"`
	Limit bool   `json:"limit"` // Want is a number that Got is held against
}

// AtMost is a target that got must not exceed; both in unit, written with digits after the point.
func AtMost(what string, got, want float64, digits int, unit string) Target {
	return bounded(what, "≤", got, want, got <= want, digits, unit)
}

// AtLeast is a target that got must not stay below.
func AtLeast(what string, got, want float64, digits int, unit string) Target {
	return bounded(what, "≥", got, want, got >= want, digits, unit)
}

func bounded(what, sign string, got, want float64, ok bool, digits int, unit string) Target {
	t := Target{What: what, Want: fmt.Sprintf("%s %.*f%s", sign, digits, want, unit), Got: fmt.Sprintf("%.*f%s", digits, got, unit), State: Missed, Limit: true}
	switch {
	case got != got: // not a number: one side of a ratio is missing
		t.Got, t.State = "-", NotMeasured
	case ok:
		t.State = Reached
	}
	return t
}

// Holds is a target that is a statement.
func Holds(what string, ok bool, got string) Target {
	t := Target{What: what, Want: "all", Got: got, State: Missed}
	if ok {
		t.State = Reached
	}
	return t
}

// Median of the values, NaN of none: half of them are not above it and half not below.
func Median(values []float64) float64 {
	sorted := slices.DeleteFunc(slices.Clone(values), func(v float64) bool { return v != v })
	slices.Sort(sorted)
	n := len(sorted)
	switch {
	case n == 0:
		return nan()
	case n%2 == 1:
		return sorted[n/2]
	default:
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
}

// Ratio of two figures, NaN where one is missing.
func Ratio(a, b float64) float64 {
	if b == 0 || a == 0 {
		return nan()
	}
	return a / b
}

// JSON is the whole report, indented.
func (r *Report) JSON() ([]byte, error) {
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return nil, fmt.Errorf("write report as JSON: %w", err)
	}
	return append(b, '\n'), nil
}
