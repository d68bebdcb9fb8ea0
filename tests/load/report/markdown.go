package report

import (
	"fmt"
	"strings"
	"time"
)

// Markdown is the report for people: the machine, what is to be reached, and a table a scenario.
func (r *Report) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Load test\n\n`%s`, %s, rounds: %d\n\n", r.Command, r.Began.UTC().Format(time.DateOnly), r.Rounds)
	for _, f := range r.Machine {
		fmt.Fprintf(&b, "- %s: %s\n", f.Name, f.Value)
	}
	if len(r.Failed) > 0 {
		fmt.Fprintf(&b, "\n**Failed: %s.** What follows is of the other runs, and of these as far as they went.\n", strings.Join(r.Failed, ", "))
	}
	b.WriteString("\nRatios are of neighbours within one round, and what stands here is the median of the rounds. Every single figure is in\n[latest.json](latest.json).\n\n## Reached\n\n")
	var rows [][]string
	for _, s := range r.Scenarios {
		for _, t := range s.Targets {
			rows = append(rows, []string{s.ID, t.What, t.Want, t.Got, string(t.State)})
		}
	}
	Table(&b, []string{"scenario", "figure", "wanted", "measured", "reached"}, rows)
	for _, s := range r.Scenarios {
		fmt.Fprintf(&b, "\n## %s: %s\n\n", s.ID, s.Title)
		if len(s.Rows) > 0 {
			Table(&b, s.Head, s.Rows)
		}
		for i, n := range s.Notes {
			if i > 0 || len(s.Rows) > 0 {
				b.WriteByte('\n')
			}
			b.WriteString(n + "\n")
		}
	}
	return b.String()
}

// Table writes one in Markdown, its columns padded so that it can be read as it is.
func Table(b *strings.Builder, head []string, rows [][]string) {
	width := make([]int, len(head))
	for _, row := range append([][]string{head}, rows...) {
		for i, cell := range row {
			width[i] = max(width[i], len([]rune(cell)))
		}
	}
	line := func(cells []string) {
		for i, cell := range cells {
			fmt.Fprintf(b, "| %-*s ", width[i], strings.ReplaceAll(cell, "|", "\\|"))
		}
		b.WriteString("|\n")
	}
	line(head)
	for _, w := range width {
		b.WriteString("|" + strings.Repeat("-", w+2))
	}
	b.WriteString("|\n")
	for _, row := range rows {
		line(row)
	}
}
