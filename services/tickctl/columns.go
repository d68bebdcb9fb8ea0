package tickctl

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// columns are aligned text. A name that begins with > is that of a column that is aligned to the right, without the >.
type columns struct {
	names []string
	rows  [][]string
}

func (c *columns) add(cells ...string) { c.rows = append(c.rows, cells) }

// lines are the names and the rows, without spaces at their ends.
func (c *columns) lines() []string {
	widths := make([]int, len(c.names))
	names := make([]string, len(c.names))
	for i, n := range c.names {
		names[i] = strings.TrimPrefix(n, ">")
	}
	all := append([][]string{names}, c.rows...)
	for _, row := range all {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	lines := make([]string, 0, len(all))
	for _, row := range all {
		var line strings.Builder
		for i, cell := range row {
			if i > 0 {
				line.WriteString("  ")
			}
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if strings.HasPrefix(c.names[i], ">") {
				line.WriteString(pad + cell)
			} else {
				line.WriteString(cell + pad)
			}
		}
		lines = append(lines, strings.TrimRight(line.String(), " "))
	}
	return lines
}

func (c *columns) write(out io.Writer) error { return writeLines(out, c.lines()...) }

func writeLines(out io.Writer, lines ...string) error {
	_, err := io.WriteString(out, strings.Join(lines, "\n")+"\n")
	return err
}

// writeJSON writes one document on one line.
func writeJSON(out io.Writer, v any) error {
	p, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode JSON: %w", err)
	}
	_, err = out.Write(append(p, '\n'))
	return err
}

// milliseconds is a duration in JSON; -1 is none.
type milliseconds int64

const never milliseconds = -1

func ms(d time.Duration) milliseconds { return milliseconds(d.Milliseconds()) }

func (m milliseconds) String() string {
	if m < 0 {
		return "-"
	}
	return short(time.Duration(m) * time.Millisecond)
}

// count is a number and its noun: 1 edge, 2 edges.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// unknown is a number that nobody says.
const unknown = -1

// number is "-" where it is unknown.
func number(n int) string {
	if n < 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

// percent is how much of a whole a part is; "-" of nothing.
func percent(part, whole int) string {
	if whole <= 0 {
		return "-"
	}
	return fmt.Sprintf("%d%%", part*100/whole)
}
