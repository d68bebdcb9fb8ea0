package tickctl

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// screen shows a text that changes: each draw goes over the one before.
type screen struct {
	out   io.Writer
	size  func() (width, height int) // 0: nobody knows
	drawn int                        // lines of the last draw
}

// newScreen is for an output that is a terminal; of another it is nil.
func newScreen(out io.Writer) *screen {
	f, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || os.Getenv("TERM") == "dumb" {
		return nil
	}
	return &screen{out: out, size: func() (int, int) {
		width, height, err := term.GetSize(int(f.Fd()))
		if err != nil {
			return 0, 0
		}
		return width, height
	}}
}

// draw shows as many lines as there is room for: what has scrolled away could not be drawn over.
func (s *screen) draw(lines []string) error {
	width, height := s.size()
	if room := height - 1; height > 1 && len(lines) > room {
		hidden := len(lines) - room + 1
		lines = append(lines[:room-1:room-1], fmt.Sprintf("... %d more: make the window higher", hidden))
	}
	var b strings.Builder
	up := s.drawn
	if height > 1 {
		up = min(up, height-1) // it has become smaller
	}
	if up > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", up)
	}
	for _, line := range lines {
		if r := []rune(line); width > 0 && len(r) > width {
			line = string(r[:width])
		}
		b.WriteString("\r" + line + "\x1b[K\n")
	}
	b.WriteString("\x1b[J")
	s.drawn = len(lines)
	_, err := io.WriteString(s.out, b.String())
	return err
}
