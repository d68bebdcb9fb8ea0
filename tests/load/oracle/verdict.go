package oracle

import (
	"fmt"
	"strings"
	"time"
)

// Verdict is how a crowd of sockets ended.
type Verdict struct {
	Sockets int // of the crowd
	Right   int // of them, those that ended on the newest value of each of their symbols
	Behind  int // open, and without the newest value of some symbol
	Closed  int // not open any more

	Faults   Counts        // since the sockets were connected
	Took     time.Duration // until all were right, or the time was over
	Examples []string      // of what is wrong, readable
}

// OK tells whether all ended right and nothing wrong was seen on the way.
func (v Verdict) OK() bool { return v.Right == v.Sockets && v.Faults.Faults() == 0 }

func (v Verdict) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d right", v.Right, v.Sockets)
	if v.Behind > 0 {
		fmt.Fprintf(&b, ", %d behind", v.Behind)
	}
	if v.Closed > 0 {
		fmt.Fprintf(&b, ", %d closed", v.Closed)
	}
	fmt.Fprintf(&b, "; faults: %s", v.Faults)
	for _, e := range v.Examples {
		b.WriteString("\n\t")
		b.WriteString(e)
	}
	return b.String()
}
