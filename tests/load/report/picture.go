package report

import (
	"fmt"
	"html"
	"strings"
)

// Panel is a group of bars with one scale.
type Panel struct {
	Title string `json:"title"`
	Bars  []Bar  `json:"bars"`
}

// Bar is one server's figure.
type Bar struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Text  string  `json:"text"` // the value with its unit
	Ours  bool    `json:"ours,omitempty"`
}

// Sizes of the picture, in pixels.
const (
	pictureWidth = 760
	margin       = 16
	nameWidth    = 180
	textWidth    = 130
	barHeight    = 22
	barStep      = 30
	titleHeight  = 34
	panelGap     = 18
	footHeight   = 26
)

// style has colours for a light and a dark page. GitHub shows a picture on the background of the page.
const style = `text{font-family:system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif;font-size:13px;fill:#1f2328}` +
	`.title{font-weight:600;font-size:14px}.foot{font-size:11px;fill:#59636e}.ours{fill:#0969da}.other{fill:#aeb6bf}` +
	`@media(prefers-color-scheme:dark){text{fill:#e6edf3}.foot{fill:#9198a1}.ours{fill:#4493f8}.other{fill:#57606a}}`

// SVG is the panels, one below the other, as a picture that needs no other file.
func SVG(panels []Panel, foot string) string {
	height := 2*margin + footHeight
	for _, p := range panels {
		height += titleHeight + len(p.Bars)*barStep + panelGap
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img">`+"\n<style>%s</style>\n",
		pictureWidth, height, pictureWidth, height, style)
	y := margin
	for _, p := range panels {
		y = p.draw(&b, y)
	}
	fmt.Fprintf(&b, `<text class="foot" x="%d" y="%d">%s</text>`+"\n</svg>\n", margin, y+footHeight/2, html.EscapeString(foot))
	return b.String()
}

// draw gives the place below it.
func (p *Panel) draw(b *strings.Builder, y int) int {
	fmt.Fprintf(b, `<text class="title" x="%d" y="%d">%s</text>`+"\n", margin, y+titleHeight/2, html.EscapeString(p.Title))
	y += titleHeight
	longest := 0.0
	for _, bar := range p.Bars {
		longest = max(longest, bar.Value)
	}
	const room = pictureWidth - 2*margin - nameWidth - textWidth
	for _, bar := range p.Bars {
		width := 1.0
		if longest > 0 {
			width = max(width, bar.Value/longest*room)
		}
		class := "other"
		if bar.Ours {
			class = "ours"
		}
		middle := y + barHeight/2 + 5
		fmt.Fprintf(b, `<text x="%d" y="%d">%s</text>`, margin, middle, html.EscapeString(bar.Name))
		fmt.Fprintf(b, `<rect class="%s" x="%d" y="%d" width="%.1f" height="%d" rx="3"/>`, class, margin+nameWidth, y, width, barHeight)
		fmt.Fprintf(b, `<text x="%.1f" y="%d">%s</text>`+"\n", margin+nameWidth+width+8, middle, html.EscapeString(bar.Text))
		y += barStep
	}
	return y + panelGap
}

// Add adds a bar, if there is a figure.
func (p *Panel) Add(name string, value float64, text string, ours bool) {
	if value > 0 { // and is a number
		p.Bars = append(p.Bars, Bar{Name: name, Value: value, Text: text, Ours: ours})
	}
}
